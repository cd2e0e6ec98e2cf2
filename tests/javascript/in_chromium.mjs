// Embeds texts in a page of headless Chromium, as browsers, Tauri and Electron's windows do: with WebAssembly, and every
// file fetched by its address. A server on loopback is all that the page can reach.
import { createReadStream, existsSync, readFileSync } from 'node:fs';
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
const server = createServer((request, response) => {
    const [, kind, ...rest] = normalize(new URL(request.url, 'http://localhost').pathname).split('/');
    const file = kind === 'page.html' ? join(here, kind) : join(folders[kind] ?? '/nowhere', ...rest);
    if (kind === 'bundle') fetched.push(rest.join('/'));
    if (!existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const browser = await puppeteer.launch({
    executablePath: await chromium.executablePath(),
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
    console.log(JSON.stringify({ vectors, fetched, browser: await browser.version() }));
} finally {
    await browser.close();
    server.close();
}
