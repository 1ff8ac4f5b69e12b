// Bundles the test pages as an app would, each with the package as it is published.

import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..");

/** js-waku brings version 12 of multiaddr, and an app on it has no other: there the package gets that one. */
const multiaddrOfWaku = {
  name: "multiaddr-of-waku",
  setup(build) {
    build.onResolve({ filter: /^@multiformats\/multiaddr$/ }, ({ path, importer, kind }) => {
      if (dirname(importer) !== join(root, "dist")) return undefined;
      return build.resolve(path, { kind, resolveDir: join(root, "node_modules/@waku/sdk") });
    });
  },
};

/** Bundles pages into a folder; the bytes of each bundle. */
export async function bundle(folder, pages) {
  mkdirSync(folder, { recursive: true });
  for (const { name, entry, isWaku } of pages) {
    await build({
      entryPoints: [entry],
      outfile: join(folder, `${name}.js`),
      bundle: true,
      format: "esm",
      minify: true,
      sourcemap: true,
      target: "es2022",
      alias: { "@wakumix/browser": join(root, "dist/index.js") },
      plugins: isWaku ? [multiaddrOfWaku] : [],
    });
    writeFileSync(join(folder, `${name}.html`), `<!doctype html><meta charset="utf-8"><title>${name}</title><link rel="icon" href="data:,"><script type="module" src="${name}.js"></script>\n`);
  }
  copyFileSync(join(root, "dist/engine.wasm"), join(folder, "engine.wasm"));
}

export const PAGES = [
  { name: "libp2p", entry: join(here, "pages/libp2p.js"), isWaku: false },
  { name: "waku", entry: join(here, "pages/waku.js"), isWaku: true },
];
