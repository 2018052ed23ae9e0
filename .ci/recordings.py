#!/usr/bin/env python3
"""Shows that the recordings of two revisions have equal calls: octets, times and contents; names may differ.

  recordings.py REV            compares the recordings of the working tree with those of the commit REV
  recordings.py REV --names    also prints every name that differs

It reads the format as src/record/mod.rs documents it, without the crate. Payloads are compared as octets, JSON
by its values. A name differs where a field or a value that is a name stands in its place in the other revision,
each time the same one.
"""

import json
import re
import struct
import subprocess
import sys

FOLDERS = ('vectors', 'fuzz/seeds/record_read')
SECTION, INTERFACE, PACKET, CUSTOM, LOCAL = 0x0A0D0D0A, 1, 6, 0x0BAD, 0x80000BAD
NETWORK, JSON, BLOBS = range(3)
JSON_TAGS, CUSTOM_OPTION, LOCAL_OPTION = 12, 2989, 0x8BAD
ADDRESS, FORGET, BLOB, RECEIVE, COMMANDS, REFUSED, SENDS, RESULTS, IDLE_UNTIL, RESTORE = (
    1, 2, 3, 4, (5, 6), 8, (9, 10), (12, 13), 15, 19)
NAME = re.compile(r'[a-z_]+')
# A duration is an object of seconds and nanoseconds in format 1, and text later; none was null and is `off`.
SPAN = re.compile(r'(\d+(?:\.\d+)?)(ns|us|ms|s)')
UNITS = {'ns': 1, 'us': 10**3, 'ms': 10**6, 's': 10**9}


class Reader:
    """Takes numbers and octets from the front of records."""

    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def take(self, length):
        self.at += length
        return self.octets[self.at - length:self.at]

    def varint(self):
        value = shift = 0
        while True:
            octet = self.take(1)[0]
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value

    def span(self, since):
        zigzag = self.varint()
        return (since + ((zigzag >> 1) ^ -(zigzag & 1))) % 2**64


def blocks(file):
    at = 0
    while at < len(file):
        kind, length = struct.unpack_from('<II', file, at)
        yield kind, file[at + 8:at + length - 4]
        at += length


def packet(body):
    """Returns the interface, the octets and the records of a packet."""
    interface, _, _, captured, _ = struct.unpack_from('<IIIII', body)
    octets, at, records = body[20:20 + captured], 20 + captured + -captured % 4, b''
    while at + 4 <= len(body):
        code, length = struct.unpack_from('<HH', body, at)
        if code in (CUSTOM_OPTION, LOCAL_OPTION):
            # Up to format 2 an enterprise number stands before the records.
            records = body[at + (8 if code == CUSTOM_OPTION else 4):at + length]
        at += 4 + length + -length % 4
    return interface, octets, records


def without_headers(interface, octets, tagged):
    if interface == JSON:
        return octets[JSON_TAGS:]
    if interface == NETWORK:
        start, protocol = (20, octets[9]) if octets[0] >> 4 == 4 else (40, octets[6])
        return octets[start + (8 if protocol == 17 else 20):]
    if interface in tagged:
        at = 0
        while True:
            code, length = struct.unpack_from('>HH', octets, at)
            at += 4 + length
            if code == 0:
                return octets[at:]
    return octets


def calls(file):
    """Returns the heads of a recording, and its calls as tuples of names, numbers, octets and JSON."""
    heads, found, packets, blobs, addresses = [], [], [], {}, []
    interfaces, tagged, time, is_used = 0, set(), 0, False
    for kind, body in blocks(file):
        if is_used:
            packets, is_used = [], False
        records = b''
        if kind == SECTION:
            interfaces, tagged, time, addresses = 0, set(), 0, []
        elif kind == INTERFACE:
            if interfaces > BLOBS and struct.unpack_from('<H', body)[0] == 252:
                tagged.add(interfaces)
            interfaces += 1
        elif kind in (CUSTOM, LOCAL):
            body = body[4 if kind == CUSTOM else 0:]
            if body[:8] == b'farcalls':
                records = body[8:-4]
            elif 'head' in (note := json.loads(body[8:-4])):
                heads.append(note['head'])
            else:
                found.append(('note', note))
        elif kind == PACKET:
            interface, octets, records = packet(body)
            packets.append((interface, without_headers(interface, octets, tagged)))
        reader = Reader(records)
        while reader.at < len(records):
            opcode = reader.take(1)[0]
            if opcode == 0:
                continue
            if opcode == ADDRESS:
                addresses.append(json.loads(reader.take(reader.varint())))
            elif opcode == FORGET:
                addresses = []
            elif opcode == BLOB:
                digest = reader.take(16)
                reader.varint()
                blobs['hex:' + digest.hex()] = b''.join(octets for _, octets in packets)
                is_used = True
            else:
                time, is_used = reader.span(time), True
                found.append((opcode, time, *fields(opcode, reader, time, packets, addresses, blobs)))
    return heads, found


def fields(opcode, reader, time, packets, addresses, blobs):
    if opcode == RECEIVE or opcode in SENDS:
        address, count = addresses[reader.varint()], reader.varint()
        datagrams = tuple(octets for _, octets in packets)
        assert len(datagrams) == count, 'a call without its packets'
        return address, datagrams
    if opcode in COMMANDS or opcode in RESULTS or opcode == RESTORE:
        text = next(octets for interface, octets in reversed(packets) if interface == JSON)
        return (resolved(json.loads(text), blobs),)
    if opcode == REFUSED:
        return (reader.take(reader.varint()),)
    return (reader.span(time),) if opcode == IDLE_UNTIL else ()


def resolved(value, blobs):
    """Replaces digests by the payloads that they stand for."""
    if isinstance(value, dict) and list(value) == ['$blob']:
        content = blobs[value['$blob']]
        return resolved(json.loads(content), blobs) if content[:1] == b'{' else 'hex:' + content.hex()
    if isinstance(value, dict):
        return {name: resolved(inner, blobs) for name, inner in value.items()}
    return [resolved(inner, blobs) for inner in value] if isinstance(value, list) else value


def nanos(value):
    """Returns a duration of either notation in nanoseconds, and any other value unchanged."""
    if isinstance(value, dict) and set(value) == {'secs', 'nanos'}:
        return value['secs'] * 10**9 + value['nanos']
    if isinstance(value, str) and SPAN.fullmatch(value):
        number, unit = SPAN.fullmatch(value).groups()
        return round(float(number) * UNITS[unit])
    return None if value == 'off' else value


def differ(old, new, names, where):
    """Returns where two values differ in more than names, or None; adds names that differ to `names`."""
    old, new = nanos(old), nanos(new)
    if type(old) is not type(new):
        return f'{where}: {old!r}, {new!r}'
    if isinstance(old, dict) and len(old) == len(new):
        return next((found for one, other in pairs(old, new, names)
                     if (found := renamed(one, other, names, where)
                         or differ(old[one], new[other], names, f'{where}.{other}'))), None)
    if isinstance(old, (list, tuple)) and len(old) == len(new):
        return next((found for at, (a, b) in enumerate(zip(old, new))
                     if (found := differ(a, b, names, f'{where}[{at}]'))), None)
    if isinstance(old, str) and NAME.fullmatch(old) and NAME.fullmatch(new):
        return renamed(old, new, names, where)
    return None if old == new else f'{where}: {old!r}, {new!r}'


def pairs(old, new, names):
    """Pairs the fields of two objects: by their names, and the others by what they hold."""
    common = old.keys() & new.keys()
    left = [name for name in new if name not in common]
    for name in old:
        other = name
        if name not in common:
            fits = (new_name for new_name in left if not differ(old[name], new[new_name], dict(names), ''))
            other = names[name] if names.get(name) in left else next(fits, left[0])
            left.remove(other)
        yield name, other


def renamed(old, new, names, where):
    if names.setdefault(old, new) == new:
        return None
    return f'{where}: {old} is {new} here and {names[old]} elsewhere'


def paths(revision):
    listed = ['git', 'ls-tree', '-r', '--name-only', revision, '--', *FOLDERS]
    text = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {path for path in text.split() if path.endswith('.pcapng')}


def main(revision, *options):
    olds = paths(revision)
    listed = ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '--', *FOLDERS]
    files = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    news = {path for path in files if path.endswith('.pcapng')}
    faults = [f'{path}: only in {revision}' for path in olds - news]
    faults += [f'{path}: not in {revision}' for path in news - olds]
    names, total = {}, 0
    for path in sorted(olds & news):
        old = subprocess.run(['git', 'show', f'{revision}:{path}'], check=True, stdout=subprocess.PIPE).stdout
        with open(path, 'rb') as file:
            new = file.read()
        (old_heads, old_calls), (new_heads, new_calls) = calls(old), calls(new)
        for head in old_heads + new_heads:
            del head['farlink'], head['format']
        heads = differ(old_heads, new_heads, names, 'head')
        found = heads or differ(old_calls, new_calls, names, 'call')
        if found or len(old_calls) != len(new_calls):
            faults.append(f'{path}: {found or "another number of calls"}')
        total += len(new_calls)
    changed = {old: new for old, new in names.items() if old != new}
    if '--names' in options:
        for old, new in sorted(changed.items()):
            print(f'{old} -> {new}')
    print('\n'.join(faults) or f'{len(olds & news)} recordings, {total} calls: equal but for {len(changed)} names')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
