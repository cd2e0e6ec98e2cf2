// Opens a page of another origin in headless Chromium, asks the server from it, and opens the server by a rebound name.
import { readFileSync } from 'node:fs';
import chromium from '@sparticuz/chromium';
import puppeteer from 'puppeteer-core';

const { page: url, server, port } = JSON.parse(readFileSync(0, 'utf8'));
const browser = await puppeteer.launch({
    executablePath: await chromium.executablePath(),
    headless: 'shell',
    args: ['--no-sandbox', '--host-resolver-rules=MAP evil.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});
try {
    const page = await browser.newPage();
    await page.goto(url);
    const asked = await page.evaluate(async (to) => {
        const headers = { 'Content-Type': 'application/json' };
        try {
            return (await (await fetch(to, { method: 'POST', headers, body: '{"inputs": "the cat"}' })).json())[0].length;
        } catch (error) {
            return String(error);
        }
    }, `${server}/embed`);
    const rebound = (await page.goto(`http://evil.test:${port}/info`)).status();
    console.log(JSON.stringify({ asked, rebound }));
} finally {
    await browser.close();
}
