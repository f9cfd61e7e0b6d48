"""Gunicorn settings for the servers we compare with: one worker per core, four threads each."""

import os

bind = f"127.0.0.1:{os.environ['PORT']}"
workers = len(os.sched_getaffinity(0))
worker_class = "gthread"
threads = 4
timeout = 120
keepalive = 75
control_socket_disable = True
