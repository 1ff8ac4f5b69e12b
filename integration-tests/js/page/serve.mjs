// Serves the page; ends when it reports that it has tried everything, and prints what it has tried.
// Usage: node serve.mjs PORT NODE TOPIC
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, node, topic] = process.argv.slice(2);
const page = readFileSync(new URL("page.html", import.meta.url), "utf8").replace("NODE", node).replace("TOPIC", topic);

createServer(async (request, response) => {
  if (request.url !== "/done") {
    response.setHeader("content-type", "text/html").end(request.url === "/" ? page : "");
    return;
  }
  for await (const chunk of request) process.stdout.write(chunk);
  process.stdout.write("\n");
  response.end(() => process.exit(0));
}).listen(Number(port), "127.0.0.1");
