// Serves a page; ends when it reports that it has tried everything, and prints what it has tried.
// Usage: node serve.mjs PORT PAGE NODE TOPIC [TOKEN]
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, file, node, topic, token = ""] = process.argv.slice(2);
const words = { NODE: node, TOPIC: topic, TOKEN: token };
const page = readFileSync(new URL(file, import.meta.url), "utf8").replace(/"(NODE|TOPIC|TOKEN)"/g, (_, word) => `"${words[word]}"`);

createServer(async (request, response) => {
  if (request.url !== "/done") {
    response.setHeader("content-type", "text/html").end(request.url === "/" ? page : "");
    return;
  }
  for await (const chunk of request) process.stdout.write(chunk);
  process.stdout.write("\n");
  response.end(() => process.exit(0));
}).listen(Number(port), "127.0.0.1");
