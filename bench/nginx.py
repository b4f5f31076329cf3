"""nginx, as the fast half of the stand-in upstream and as the bare reverse proxy to compare with."""

import shutil
import subprocess
from pathlib import Path

from bench.processes import Process, start
from bench.wire import FIXED_ANSWER

_COMMON = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  tcp_nodelay on;
{servers}
}}
"""

_STANDIN = """\
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{answer}'; }}
  }}
"""

_PROXY = """\
  upstream plain {{ server 127.0.0.1:{plain}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 300s; }}
  upstream paced {{ server 127.0.0.1:{paced}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 300s; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    location / {{ proxy_pass http://plain; }}
    location /paced/ {{ proxy_pass http://paced/; }}
  }}
"""


def installed() -> str | None:
    """The program's path, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def version() -> str:
    """The installed version, as nginx itself says it."""
    program = installed()
    if program is None:
        return "not installed"
    said = subprocess.run([program, "-v"], check=True, capture_output=True, text=True)
    return said.stderr.strip().rpartition("/")[2]


def start_standin(port: int, folder: Path, *, core: int | None) -> Process:
    """Start the plain half of the stand-in: every request gets the same chat completion, at once."""
    return _start("standin", _STANDIN.format(port=port, answer=FIXED_ANSWER.decode()), port, folder, core)


def start_proxy(port: int, folder: Path, *, plain: int, paced: int, core: int | None) -> Process:
    """Start the bare reverse proxy: `/` goes to the plain stand-in, `/paced/` to the paced one, unbuffered."""
    return _start("proxy", _PROXY.format(port=port, plain=plain, paced=paced), port, folder, core)


def _start(name: str, servers: str, port: int, folder: Path, core: int | None) -> Process:
    program = installed()
    if program is None:
        raise FileNotFoundError("nginx is not installed (Debian: apt-get install nginx-light)")
    folder = folder / f"nginx-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "nginx.conf"
    conf.write_text(_COMMON.format(folder=folder, servers=servers))
    return start([program, "-p", str(folder), "-c", str(conf)], port=port, log=folder / "log", core=core)
