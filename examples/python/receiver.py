#!/usr/bin/env python3
"""Subscribes to the messages on the demo seller's post and prints each that comes, with nothing but the
standard library. README.md says how to run it. With SIGNING_SECRET=whsec_... it checks signatures, too."""
import argparse
import base64
import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 2 << 20  # bytes; webhooks are much shorter
MAX_SEEN = 100_000  # webhooks that are remembered
CUT_AFTER = 15  # seconds that a connection may last; the platform gives up after 10


def same(given, want):
    """Compares in a time that does not tell how much of a guess is right."""
    return hmac.compare_digest(given.encode("latin-1", "replace"), want.encode())


class Receiver(BaseHTTPRequestHandler):
    """Answers webhooks, each connection in a thread of its own."""

    timeout = 10  # seconds that a read may wait
    lock, seen = threading.Lock(), {}

    def setup(self):
        super().setup()  # who sends a byte now and then is cut off, too
        self.cut = threading.Timer(CUT_AFTER, self.connection.shutdown, [socket.SHUT_RDWR])
        self.cut.daemon = True
        self.cut.start()

    def finish(self):
        self.cut.cancel()
        super().finish()

    def do_POST(self):
        status, says = self.receive()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(says.encode())

    def receive(self):
        length = self.headers.get("Content-Length", "")
        if not same(self.headers.get("Authorization", ""), self.key):
            return 401, "wrong identification key"
        if not length.isdecimal():
            return 411, "Content-Length is missing"
        if len(length) > 9 or int(length) > MAX_BODY:
            return 413, "the body is too long"
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return 400, "the body ends early"
        if self.secret and not self.signed(body):
            return 401, "wrong signature, or an old one"
        try:
            event = json.loads(body)
            kind = event["type"]
        except (ValueError, RecursionError, TypeError, KeyError):
            return 400, "the body is not an event"
        name = self.headers.get("webhook-id") or hashlib.sha256(body).hexdigest()
        with self.lock:  # one at a time, so that of two with one name the second waits for what becomes of the first
            if name not in self.seen:
                handle(kind, event)  # where it fails the platform gets no answer, and sends the event again
                self.seen[name] = True
                if len(self.seen) > MAX_SEEN:
                    del self.seen[next(iter(self.seen))]  # the oldest
        return 200, ""

    def signed(self, body):
        """Standard Webhooks: an HMAC of name, time and body, made less than five minutes ago."""
        name, at = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "")
        if not at.isdecimal() or len(at) > 12 or abs(time.time() - int(at)) > 300:
            return False
        mac = hmac.digest(self.secret, f"{name}.{at}.".encode("latin-1", "replace") + body, "sha256")
        want = "v1," + base64.b64encode(mac).decode()  # while a secret is being changed there are several signatures
        return any([same(given, want) for given in self.headers.get("webhook-signature", "").split(" ")])


def handle(kind, event):
    """What the app does. It leaves alone what it does not know: platforms add types, fields and values."""
    if kind == "NEW_MESSAGE":
        message = event["new_message"]
        said = message.get("text", message["type"])
        # repr: strangers write texts, and a terminal obeys some characters.
        print(f"{message['sender'].get('side')} {said!r}", flush=True)


def subscribe(dev):
    """Asks for all messages on the post, with the app's key and the seller's token."""
    body = {"event_type": "NEW_MESSAGE_ON_POST", "event_resource_id": dev["post_token"]}
    token = "Bearer " + dev["users"]["seller"]["access_token"]
    headers = {"X-API-Key": dev["app"]["api_key"], "Authorization": token, "Content-Type": "application/json"}
    url = dev["base_url"] + "/v1/open-platform/events/subscriptions"
    try:
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=10).close()
    except urllib.error.HTTPError as refused:
        sys.exit(f"subscribe: {refused.code} {refused.read().decode()}")


def main():
    flags = argparse.ArgumentParser(description="Prints the messages on the demo seller's post.")
    flags.add_argument("--dev", default=".openkenar/dev.json", help="what dev mode has written")
    flags.add_argument("--listen", default="127.0.0.1:8000", help="address to listen on")
    given = flags.parse_args()
    with open(given.dev, encoding="utf-8") as file:
        dev = json.load(file)
    Receiver.key = dev["app"]["identification_key"]
    Receiver.secret = base64.b64decode(os.environ.get("SIGNING_SECRET", "").removeprefix("whsec_"))
    ThreadingHTTPServer.request_queue_size = 128  # connections that come at once
    host, _, port = given.listen.rpartition(":")
    with ThreadingHTTPServer((host, int(port)), Receiver) as server:
        subscribe(dev)
        print(f"waiting for webhooks on http://{given.listen}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
