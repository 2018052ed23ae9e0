"""A node of the PyPI package cubesat-space-protocol-py, which has no interface of its own on a socket.

It speaks on one UDP socket to one peer. With --carrier packet a datagram is a packet with its header of version 2.
With can1 and can2 a datagram is a CAN frame of CFP version 1 or 2, in the form of LINKTYPE_CAN_SOCKETCAN.

Prints one JSON object per line, the first with the port it has bound. It ends with its standard input.
"""

import argparse
import asyncio
import json
import struct
import sys

from csp_py import CspAddress, CspNode, CspPacketFlags, ping
from csp_py.interfaces.can.can_interface import CspCanInterface
from csp_py.interfaces.can_v1.can_v1_interface import CspCanV1Interface
from csp_py.interfaces.serializing_interface import CspSerializingInterface

EXTENDED = 0x80000000


def emit(**fields):
    print(json.dumps(fields), flush=True)


class Carrier(asyncio.DatagramProtocol):
    """The UDP socket, and the interface of the node on it."""

    def __init__(self, kind, remote):
        self.remote = remote
        self.frames = asyncio.Queue()
        if kind == 'packet':
            self.interface = CspSerializingInterface(self.send)
        else:
            self.interface = CspCanV1Interface() if kind == 'can1' else CspCanInterface()
            self.interface.send_can_frame = self.send_can_frame

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.frames.put_nowait(data)

    async def send(self, frame):
        self.transport.sendto(frame, self.remote)

    async def send_can_frame(self, identifier, data):
        await self.send(struct.pack('!IBBBB', identifier | EXTENDED, len(data), 0, 0, 0) + data)

    async def receive(self):
        while True:
            frame = await self.frames.get()
            if isinstance(self.interface, CspSerializingInterface):
                await self.interface.on_incoming_frame(frame)
            else:
                identifier, length = struct.unpack_from('!IB', frame)
                await self.interface.on_can_frame(identifier & ~EXTENDED, frame[8:8 + length])


def about(packet):
    id = packet.packet_id
    return {'from': id.src, 'port': id.sport, 'flags': int(id.flags), 'priority': id.priority.value,
            'hex': packet.data.hex()}


async def echo(socket, flags):
    """Answers what comes without connection."""
    while True:
        packet = await socket.recv_from()
        emit(event='packet', **about(packet))
        await socket.send_reply(packet, packet.data)


async def accept(node, port, flags):
    """Answers what comes on connections, which in this package begin with a packet from another source port."""
    socket = node.listen(port, send_flags=flags)
    while True:
        connection = await socket.accept()
        emit(event='accepted', **{'from': connection.remote_address, 'port': connection.remote_port})
        asyncio.create_task(echo_on(connection))


async def echo_on(connection):
    while True:
        packet = await connection.recv()
        await connection.send(packet.data)


async def ask(node, args, flags):
    """Sends packets to a port, each once the answer to the one before has come."""
    async with node.with_connection(dst=args.destination, port=args.to_port, send_flags=flags) as connection:
        for size in args.size:
            data = bytes((7 * i) % 256 for i in range(size))
            await connection.send(data)
            answer = await asyncio.wait_for(connection.recv(), args.patience)
            emit(event='answer', is_equal=answer.data == data, **about(answer))


async def ask_pings(node, args, flags):
    for size in args.size:
        try:
            seconds = await asyncio.wait_for(
                ping(node, dst=args.destination, size=size, send_flags=flags), args.patience)
            emit(event='pong', size=size, seconds=seconds)
        except asyncio.TimeoutError:
            emit(event='silent', size=size)


async def get_memory(node, args):
    """Gets memory by VMEM of DTP, without RDP: asks for what is missing until nothing is, and what the server says then."""
    session, mtu = 0x01020304, 208
    chunk = mtu - 8
    address, size = args.memory
    octets, missing = bytearray(size), set(range(-(-size // chunk)))
    data = node.bound_socket(8)
    rounds = 0
    async with node.with_connection(dst=args.destination, port=14, send_flags=CspPacketFlags.CRC32) as connection:
        while missing and rounds < 20:
            rounds += 1
            intervals = holes(missing)[:8]
            pairs = b''.join(struct.pack('!II', *it) for it in intervals).ljust(64, b'\0')
            request = struct.pack('!IBBHIHH', 2_000_000, len(intervals), 0, 0, session, mtu, 0) + pairs
            await connection.send(struct.pack('!BBBIQI', 2, 0x80, 0, session, address, size) + request)
            asked = sum(end - start + 1 for start, end in intervals)
            for _ in range(asked):
                try:
                    packet = await asyncio.wait_for(data.recv_from(), 1)
                except asyncio.TimeoutError:
                    break
                offset, of = struct.unpack_from('<II', packet.data)
                piece = packet.data[8:]
                if of != session or offset % chunk or len(piece) != min(chunk, size - offset):
                    raise ValueError(f'packet of session {of:#x}, offset {offset}, {len(piece)} octets')
                octets[offset:offset + len(piece)] = piece
                missing.discard(offset // chunk)
        await connection.send(bytes((2, 0x80, 2)))
        status = await asyncio.wait_for(connection.recv(), args.patience)
    of, busy = struct.unpack('!II', status.data)
    emit(event='memory', missing=len(missing), rounds=rounds, hex=octets.hex(), is_session=of == session, busy=busy)


def holes(missing):
    """Returns the first and the last number of each run of numbers."""
    runs = []
    for number in sorted(missing):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


async def run(args):
    loop = asyncio.get_running_loop()
    flags = CspPacketFlags.CRC32 if args.crc32 else CspPacketFlags.Zero
    carrier = Carrier(args.carrier, ('127.0.0.1', args.remote))
    transport, _ = await loop.create_datagram_endpoint(lambda: carrier, local_addr=('127.0.0.1', 0))
    node = CspNode(default_send_flags=flags)
    # A package of version 2 through and through: addresses of version 1 fit into its subnet as well.
    address = CspAddress(address=args.address, netbits=0, version=2)
    node.router.add_interface(carrier.interface, address=address)
    tasks = [asyncio.create_task(it) for it in (carrier.receive(), node.router.arun())]
    if args.echo is not None:
        tasks.append(asyncio.create_task(echo(node.bound_socket(args.echo, send_flags=flags), flags)))
    if args.accept is not None:
        tasks.append(asyncio.create_task(accept(node, args.accept, flags)))
    emit(event='bound', port=transport.get_extra_info('sockname')[1])
    go = await loop.run_in_executor(None, sys.stdin.readline)
    if go and args.memory is not None:
        await get_memory(node, args)
    elif go and args.to_port is not None:
        await ask(node, args, flags)
    elif go:
        await ask_pings(node, args, flags)
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--address', type=int, default=2, help='of this node')
    parser.add_argument('--remote', type=int, required=True, help='UDP port of the peer')
    parser.add_argument('--carrier', choices=('packet', 'can1', 'can2'), default='packet')
    parser.add_argument('--crc32', action='store_true', help='send with CRC32')
    parser.add_argument('--echo', type=int, metavar='PORT', help='answer packets to this port')
    parser.add_argument('--accept', type=int, metavar='PORT', help='answer connections to this port')
    parser.add_argument('--destination', type=int, default=1)
    parser.add_argument('--to-port', type=int, metavar='PORT',
                        help='after a line of input, send there; without it, ping')
    parser.add_argument('--memory', type=lambda text: [int(it, 0) for it in text.split('+')], metavar='ADDRESS+SIZE',
                        help='after a line of input, get memory of the destination by DTP')
    parser.add_argument('--size', type=int, action='append', default=[], help='octets of a packet')
    parser.add_argument('--patience', type=float, default=10, help='seconds for an answer')
    return parser.parse_args()


if __name__ == '__main__':
    asyncio.run(run(arguments()))
