// Uses the page of `embedge serve` in headless Chromium as a person does: reads what is served, presses the buttons.
import { readFileSync } from 'node:fs';
import chromium from '@sparticuz/chromium';
import puppeteer from 'puppeteer-core';

const { url, key } = JSON.parse(readFileSync(0, 'utf8'));
const browser = await puppeteer.launch({
    executablePath: await chromium.executablePath(),
    headless: 'shell',
    args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});
try {
    const page = await browser.newPage();
    const problems = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('console', (message) => problems.push(message.text()));
    await page.goto(url);
    const texts = (selector) => page.$$eval(selector, (found) => found.map((one) => one.innerText));
    const type = async (id, text) => {
        await page.$eval(`#${id}`, (field, value) => { field.value = value; }, text);
    };
    const press = async (id) => {
        await page.$eval('#result', (result) => result.replaceChildren());
        await page.click(`#${id}`);
        await page.waitForSelector('#result h2', { timeout: 20000 });
        return texts('#result td, #result pre, #result .error');
    };
    const done = {};
    if (key) {
        await page.waitForSelector('#keybox:not([hidden])', { timeout: 20000 });
        done.refused = await texts('#status');
        problems.length = 0; // Chromium logs each 401
        await page.type('#key', key);
        await page.keyboard.press('Tab');
    }
    await page.waitForSelector('#models tbody tr', { timeout: 20000 });
    done.status = await texts('#status');
    done.models = await texts('#models td');
    done.routes = await texts('#routes code');
    done.curl = await texts('#curl');
    await type('source', 'the cat <b>sat</b>');
    await type('sentences', 'a dog\n<img src=x onerror=alert(1)>\n\nthe cat <b>sat</b>');
    done.compared = await press('compare');
    done.vector = await press('embed');
    await page.select('#prompt', 'query');
    done.prompted = await press('embed');
    await type('query', 'how do i bake bread ?');
    await type('texts', 'Yeast makes dough rise.\nThe bike has a flat tyre.');
    done.ranked = await press('rank');
    await type('sentences', '');
    done.error = await press('compare');
    console.log(JSON.stringify({ ...done, problems: problems.filter((one) => !one.includes('400')) }));
} finally {
    await browser.close();
}
