// Subscribes to the messages on the demo seller's post and prints each that comes, with nothing but what Node
// brings. README.md says how to run it. With SIGNING_SECRET=whsec_... it checks signatures, too.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const maxBody = 2 << 20; // bytes; webhooks are much shorter
const maxSeen = 100_000; // webhooks that are remembered

const { values: flags } = parseArgs({
  options: {
    dev: { type: "string", default: ".openkenar/dev.json" }, // what dev mode has written
    listen: { type: "string", default: "127.0.0.1:8000" },
  },
});
const dev = JSON.parse(readFileSync(flags.dev, "utf8"));
const secret = Buffer.from((process.env.SIGNING_SECRET ?? "").replace(/^whsec_/, ""), "base64");
const seen = new Map(); // what becomes, or became, of each webhook

class Refused extends Error {
  constructor(status, says) {
    super(says);
    this.status = status;
  }
}

// same compares in a time that does not tell how much of a guess is right.
function same(given, want) {
  const digest = (bytes) => createHash("sha256").update(bytes).digest();
  return timingSafeEqual(digest(Buffer.from(given, "latin1")), digest(Buffer.from(want)));
}

// signed checks by Standard Webhooks: an HMAC of name, time and body, made less than five minutes ago.
function signed(headers, body) {
  const at = headers["webhook-timestamp"] ?? "";
  if (!/^\d{1,12}$/.test(at) || Math.abs(Date.now() / 1000 - Number(at)) > 300) return false;
  const mac = createHmac("sha256", secret).update(`${headers["webhook-id"]}.${at}.`, "latin1").update(body);
  const want = "v1," + mac.digest("base64"); // while a secret is being changed there are several signatures
  return (headers["webhook-signature"] ?? "").split(" ").filter((given) => same(given, want)).length > 0;
}

async function read(request) {
  if (Number(request.headers["content-length"] ?? 0) > maxBody) throw new Refused(413, "the body is too long");
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxBody) throw new Refused(413, "the body is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function receive(request) {
  if (request.method !== "POST") throw new Refused(405, "only POST");
  if (!same(request.headers.authorization ?? "", dev.app.identification_key)) throw new Refused(401, "wrong identification key");
  const body = await read(request);
  if (secret.length > 0 && !signed(request.headers, body)) throw new Refused(401, "wrong signature, or an old one");
  let event;
  try {
    event = JSON.parse(body);
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
  if (typeof event?.type !== "string") throw new Refused(400, "the body is not an event");
  const name = request.headers["webhook-id"] ?? createHash("sha256").update(body).digest("hex");
  if (!seen.has(name)) {
    seen.set(name, handle(event)); // no await before this: of two with one name the second waits for the first
    if (seen.size > maxSeen) seen.delete(seen.keys().next().value); // the oldest
  }
  try {
    await seen.get(name);
  } catch (error) {
    seen.delete(name); // not 2xx: the platform sends the event again
    throw error;
  }
}

// handle is what the app does. It leaves alone what it does not know: platforms add types, fields and values.
async function handle(event) {
  if (event.type !== "NEW_MESSAGE") return;
  const { sender, type, text } = event.new_message;
  // Strangers write texts, and a terminal obeys some characters.
  const said = JSON.stringify(text ?? type).replace(/[\p{Cc}\p{Cf}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  console.log(sender.side, said);
}

// subscribe asks for all messages on the post, with the app's key and the seller's token.
async function subscribe() {
  const answer = await fetch(dev.base_url + "/v1/open-platform/events/subscriptions", {
    method: "POST",
    headers: {
      "X-API-Key": dev.app.api_key,
      "Authorization": "Bearer " + dev.users.seller.access_token,
      "Content-Type": "application/json",
    },
    body: JSON.stringify({ event_type: "NEW_MESSAGE_ON_POST", event_resource_id: dev.post_token }),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`subscribe: ${answer.status} ${await answer.text()}`);
}

// The platform gives up after ten seconds; who sends slower than that is cut off.
const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 });
server.on("request", async (request, response) => {
  try {
    await receive(request);
    response.end();
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error.message);
    response.writeHead(error.status ?? 500, { Connection: "close" }).end(error instanceof Refused ? error.message : "");
  }
});
const [host, port] = flags.listen.split(/:(?=\d+$)/);
server.listen(Number(port), host, async () => {
  await subscribe();
  console.log(`waiting for webhooks on http://${flags.listen}/`);
});
