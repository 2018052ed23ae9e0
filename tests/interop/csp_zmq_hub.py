"""A hub of ZMQ by the PyPI package pyzmq, which is libzmq: nodes publish to port 6000 and subscribe at port 7000.

Prints a line once it is there, and ends with its standard input.
"""

import sys
import threading

import zmq

context = zmq.Context()
front, back = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
front.bind('tcp://127.0.0.1:6000')
back.bind('tcp://127.0.0.1:7000')
print('bound', flush=True)
threading.Thread(target=lambda: zmq.proxy(front, back), daemon=True).start()
sys.stdin.read()
