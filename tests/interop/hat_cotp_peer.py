#!/usr/bin/env python3
"""COTP peer for the interop tests, built on the PyPI package hat-drivers.

  serve    listens, one JSON object per line: listening, accepted, message, closed, refused
  connect  one connection, exactly one result line; exits 0 if all that was asked for was seen
  bulk     one-way rate of hat-drivers to itself, server and client in two processes

T-selectors are integers, and hat-drivers always writes them as two octets.
Payloads are those of vectors/README.md: octet i = (7 i + i div 251 + seed) mod 256.
"""

import argparse
import asyncio
import hashlib
import json
import socket
import struct
import sys
import time

from hat import aio
from hat.drivers import cotp, net, ssl, tpkt
from hat.drivers.cotp import common, encoder


def emit(**fields):
    print(json.dumps(fields), flush=True)


def pattern(size, seed=0):
    return bytes((7 * i + i // 251 + seed) & 0xFF for i in range(size))


def describe(message):
    message = bytes(message)
    fields = {'len': len(message), 'sha256': hashlib.sha256(message).hexdigest()}
    if len(message) <= 64:
        fields['hex'] = message.hex()
    return fields


def describe_connection(conn):
    return {'local_tsel': conn.info.local_tsel, 'remote_tsel': conn.info.remote_tsel,
            'tpdu_size': conn._max_tpdu}


def transport(args, protocol):
    """Arguments for TLS, if it was asked for: a server shows the certificate, a client wants to see it."""
    if not args.tls:
        return {}
    if protocol is ssl.SslProtocol.TLS_SERVER:
        return {'ssl': ssl.create_ssl_ctx(protocol, cert_path=args.tls)}
    return {'ssl': ssl.create_ssl_ctx(protocol, verify_cert=True, load_default_certs=False, ca_path=args.tls)}


def reset(conn):
    """Ends TCP with RST, which hat-drivers has no call for."""
    transport = conn._conn._conn._protocol._transport
    linger_for_nothing = struct.pack('ii', 1, 0)
    transport.get_extra_info('socket').setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, linger_for_nothing)
    transport.abort()


class Server:
    def __init__(self, args):
        self.args = args
        self.count = 0
        self.enough = asyncio.Event()

    async def listen(self):
        address = net.TcpAddress(self.args.host, self.args.port)
        if self.args.do in ('refuse', 'hang-up', 'silent'):
            return await tpkt.listen(self.turn_away, address)
        tls = transport(self.args, ssl.SslProtocol.TLS_SERVER)
        return await cotp.listen(self.session, address, **tls)

    async def turn_away(self, conn):
        """Answers a CR with a DR, with the end of TCP, or not at all."""
        self.count += 1
        try:
            request = encoder.decode(memoryview(await conn.receive()))
            if self.args.do == 'refuse':
                refusal = common.DR(dst=request.src, src=0, reason=self.args.reason)
                await conn.send(encoder.encode(refusal))
            if self.args.do == 'silent':
                await conn.wait_closing()
            emit(event='refused', connection=self.count, local_tsel=request.called_tsel,
                 remote_tsel=request.calling_tsel)
        except ConnectionError:
            pass
        finally:
            await conn.async_close()
            self.ended()

    async def session(self, conn):
        self.count += 1
        number, messages, octets = self.count, 0, 0
        emit(event='accepted', connection=number, **describe_connection(conn))
        try:
            for i, size in enumerate(self.args.send):
                await conn.send(pattern(size, i))
            if self.args.do == 'close':
                await conn.drain()
                return
            while True:
                message = await conn.receive()
                messages += 1
                octets += len(message)
                if self.args.verbose:
                    emit(event='message', connection=number, n=messages, **describe(message))
                await self.react(conn, message)
        except ConnectionError:
            pass
        finally:
            await conn.async_close()
            emit(event='closed', connection=number, messages=messages, octets=octets)
            self.ended()

    async def react(self, conn, message):
        if self.args.do == 'echo':
            await conn.send(message)
        elif self.args.do == 'reset':
            reset(conn)
        elif self.args.do == 'truncate':
            await conn._conn._conn.write(bytes.fromhex('0300001102f080') + b'half')
            raise ConnectionError

    def ended(self):
        if self.args.connections and self.count >= self.args.connections:
            self.enough.set()


async def serve(args):
    server = Server(args)
    listener = await server.listen()
    emit(event='listening', port=listener.info.addresses[0].port)
    waits = [asyncio.ensure_future(server.enough.wait())]
    if args.until_eof:
        loop = asyncio.get_running_loop()
        waits.append(loop.run_in_executor(None, sys.stdin.buffer.read))
    done, _ = await asyncio.wait(waits, timeout=args.timeout,
                                 return_when=asyncio.FIRST_COMPLETED)
    await aio.uncancellable(listener.async_close())
    if not done:
        emit(event='timeout')
    return 0 if done else 1


async def send_all(conn, messages, result):
    for message in messages:
        await conn.send(message)
        result['sent'] += 1
    await conn.drain()


async def expect_echo(conn, messages, result):
    for i, message in enumerate(messages):
        answer = bytes(await conn.receive())
        result['received'] += 1
        if answer != message:
            result['mismatched'].append({'n': i, **describe(answer)})


async def exchange(conn, args, messages, result):
    if args.echo:
        await asyncio.gather(send_all(conn, messages, result),
                             expect_echo(conn, messages, result))
        return not result['mismatched']
    await send_all(conn, messages, result)
    result['messages'] = []
    for _ in range(args.receive):
        result['messages'].append(describe(await conn.receive()))
        result['received'] += 1
    if args.wait_closed:
        try:
            result['messages'].append(describe(await conn.receive()))
            return False
        except ConnectionError:
            pass
    return True


async def connect(args):
    messages = [bytes.fromhex(octets) for octets in args.hex]
    messages += [pattern(size, i) for i, size in enumerate(args.size)]
    messages *= args.count
    result = {'event': 'result', 'ok': False, 'connected': False,
              'sent': 0, 'received': 0, 'mismatched': []}
    conn = None
    try:
        async with asyncio.timeout(args.timeout):
            conn = await cotp.connect(net.TcpAddress(args.host, args.port),
                                      local_tsel=args.local_tsel, remote_tsel=args.remote_tsel,
                                      **transport(args, ssl.SslProtocol.TLS_CLIENT))
            result.update(connected=True, **describe_connection(conn))
            result['ok'] = await exchange(conn, args, messages, result)
            if args.reset:
                reset(conn)
    except TimeoutError:
        result['error'] = 'timeout'
    except Exception as error:
        result['error'] = f'{type(error).__name__}: {error}'
    finally:
        if conn:
            await conn.async_close()
    emit(**result)
    return 0 if result['ok'] else 1


async def bulk(args):
    server = await asyncio.create_subprocess_exec(
        sys.executable, __file__, 'serve', '--do', 'sink', '--until-eof',
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    port = json.loads(await server.stdout.readline())['port']
    try:
        for size in args.size or [16384, 1048576]:
            await measure(server, port, size, args.seconds)
    finally:
        server.stdin.close()
        await server.wait()
    return 0


async def measure(server, port, size, seconds):
    conn = await cotp.connect(net.TcpAddress('127.0.0.1', port))
    accepted = json.loads(await server.stdout.readline())
    message, start = pattern(size), time.perf_counter()
    sent = 0
    while time.perf_counter() - start < seconds:
        await conn.send(message)
        await conn.drain()
        sent += 1
    await conn.async_close()
    closed = json.loads(await server.stdout.readline())
    spent = time.perf_counter() - start
    emit(event='bulk', message=size, tpdu_size=accepted['tpdu_size'], messages=closed['messages'],
         lost=sent - closed['messages'], seconds=round(spent, 3),
         mb_per_s=round(closed['octets'] / spent / 1e6, 3))


def number(text):
    return int(text, 0)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest='mode', required=True)
    s = modes.add_parser('serve')
    s.add_argument('--do', default='echo', choices=(
        'echo', 'sink', 'close', 'reset', 'truncate', 'refuse', 'hang-up', 'silent'),
        help='reset, truncate: on the first message; refuse, hang-up, silent: in place of the CC')
    s.add_argument('--reason', type=number, default=3, help='of the DR that refuses')
    s.add_argument('--send', type=int, action='append', default=[], metavar='SIZE',
                   help='send a pattern of this size on every connection first')
    s.add_argument('--connections', type=int, default=0, help='exit after this many ended')
    s.add_argument('--until-eof', action='store_true', help='exit when standard input ends')
    s.add_argument('--verbose', action='store_true', help='one line per message')
    c = modes.add_parser('connect')
    c.add_argument('--local-tsel', type=number)
    c.add_argument('--remote-tsel', type=number)
    c.add_argument('--hex', action='append', default=[], help='send these octets')
    c.add_argument('--size', type=int, action='append', default=[], help='send a pattern')
    c.add_argument('--count', type=int, default=1, help='send the lot this often')
    c.add_argument('--echo', action='store_true', help='every message must come back')
    c.add_argument('--receive', type=int, default=0, help='wait for this many messages')
    c.add_argument('--wait-closed', action='store_true', help='the peer must close, silently')
    c.add_argument('--reset', action='store_true', help='end with RST')
    b = modes.add_parser('bulk')
    b.add_argument('--size', type=int, action='append', default=[])
    b.add_argument('--seconds', type=float, default=2)
    for mode in (s, c):
        mode.add_argument('--host', default='127.0.0.1')
        mode.add_argument('--port', type=int, default=0)
        mode.add_argument('--timeout', type=float, default=60)
        mode.add_argument('--tls', metavar='PEM', help='a certificate, and for a server its key')
    return parser.parse_args()


def main():
    args = arguments()
    run = {'serve': serve, 'connect': connect, 'bulk': bulk}[args.mode]
    sys.exit(asyncio.run(run(args)))


if __name__ == '__main__':
    main()
