// A real browser with the test pages, served over HTTP, or HTTPS with a certificate.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { execFileSync } from "node:child_process";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".map": "application/json" };

/** Serves a folder; its address, and what ends it. */
export async function serveFolder(folder, { tls, csp } = {}) {
  const answer = (request, response) => {
    const name = new URL(request.url, "http://x").pathname.slice(1);
    try {
      const body = readFileSync(join(folder, name.replaceAll("..", "")));
      response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "text/plain", ...(csp ? { "content-security-policy": csp } : {}) });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  };
  const server = tls ? createSecureServer(tls, answer) : createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `${tls ? "https" : "http"}://127.0.0.1:${server.address().port}`;
  return { url, close: () => new Promise((resolve) => server.close(resolve) && server.closeAllConnections()) };
}

export async function launch({ args = [] } = {}) {
  return await chromium.launch({
    executablePath: execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(),
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", ...args,
    ],
  });
}

/** Opens a test page. What its scripts throw that nobody catches is kept in `page.errors`. */
export async function open(context, url) {
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  await page.goto(url);
  await page.waitForFunction(() => window.app !== undefined);
  return page;
}
