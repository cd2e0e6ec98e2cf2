// Embeds texts in a page of headless Chromium, as browsers, Tauri and Electron's windows do: with WebAssembly, and every
// file fetched by its address. A server on loopback is all that the page can reach.
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import chromium from '@sparticuz/chromium';
import puppeteer from 'puppeteer-core';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };
const { bundle, load, texts, options } = JSON.parse(readFileSync(0, 'utf8'));
const here = dirname(fileURLToPath(import.meta.url));
const folders = {
    bundle,
    transformers: join(here, 'node_modules/@huggingface/transformers/dist'),
    ort: join(here, 'node_modules/onnxruntime-web/dist'),
};

const fetched = [];
const served = {}; // bytes of each file, by its address
const server = createServer((request, response) => {
    const [, kind, ...rest] = normalize(new URL(request.url, 'http://localhost').pathname).split('/');
    const file = kind === 'page.html' ? join(here, kind) : join(folders[kind] ?? '/nowhere', ...rest);
    if (kind === 'bundle') fetched.push(rest.join('/'));
    if (!existsSync(file)) return response.writeHead(404).end();
    served[request.url] = (served[request.url] ?? 0) + statSync(file).size;
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

// The peak resident memory in bytes of the page's process, from Linux's /proc; null if it is not found there. The browser
// also has a process for its first, empty page, which is smaller.
function pageMemory() {
    const peaks = [];
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
            const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
            if (!command.startsWith(executable) || !command.includes('--type=renderer')) continue;
            const peak = readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmHWM:\s+(\d+) kB/);
            if (peak) peaks.push(1024 * Number(peak[1]));
        } catch {
            // The process has ended, or belongs to someone else.
        }
    }
    return peaks.length ? Math.max(...peaks) : null;
}

const executable = await chromium.executablePath();
const browser = await puppeteer.launch({
    executablePath: executable,
    headless: 'shell',
    // Containers have no user namespaces, which Chromium's sandbox needs.
    args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});
try {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.error(`page: ${error}`));
    page.on('console', (message) => console.error(`page: ${message.text()}`));
    await page.goto(`http://127.0.0.1:${server.address().port}/page.html`);
    await page.waitForFunction('window.embed');
    const vectors = await page.evaluate((...job) => window.embed(...job), load, texts, options);
    const milliseconds = await page.evaluate(() => performance.now()); // since the page began to load
    const found = { vectors, fetched, served, milliseconds, memory: pageMemory() };
    console.log(JSON.stringify({ ...found, browser: await browser.version() }));
} finally {
    await browser.close();
    server.close();
}
