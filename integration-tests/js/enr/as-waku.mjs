// Gives @chainsafe/discv5 Waku's protocol id. The package has no setting for it: the id stands as a literal in two of its
// files, which are changed while they are loaded, and nothing else of it is.
import { register } from "node:module";

register(
  "data:text/javascript," +
    encodeURIComponent(`
      const FILES = ["/discv5/lib/packet/create.js", "/discv5/lib/packet/encode.js"];
      export async function load(url, context, next) {
        const loaded = await next(url, context);
        if (!FILES.some((file) => url.endsWith(file))) return loaded;
        const parts = loaded.source.toString().split('"discv5"');
        if (parts.length !== 2) throw new Error("the protocol id is no longer where it was in " + url);
        return { ...loaded, source: parts.join('"d5waku"') };
      }
    `),
);
