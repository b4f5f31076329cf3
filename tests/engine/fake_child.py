"""A child without a model: `python fake_child.py MODE` speaks the supervisor's side of the door like the real one."""

import json
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE = sys.argv[1]


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if MODE in ("hangs", "busy"):
            threading.Event().wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        sys.stderr.write("asked\n")


def main() -> int:
    order = json.loads(sys.stdin.readline())
    if MODE == "hopeless":
        sys.stderr.write("0.1 E srv: no such library\n")
        return 78
    if MODE == "crashes":
        sys.stderr.write("0.1 E srv: out of luck\n")
        return 9
    if MODE == "silent":
        threading.Event().wait()
    server = ThreadingHTTPServer(("127.0.0.1", order["port"]), Health)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    while MODE == "busy":
        pass
    sys.stdin.read()
    while MODE == "deaf":
        signal.pause()
    return 0


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    sys.exit(main())
