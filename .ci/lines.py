#!/usr/bin/env python3
"""Counts the code lines of each module: no tests, no comments, no blank lines.

  lines.py                counts the working tree; fails when a part exceeds its budget
  lines.py --rev REV      shows a revision, the working tree and the difference side by side
  lines.py --depth N      breaks modules down to N levels (default 1)
"""

import argparse
import collections
import io
import pathlib
import subprocess
import sys
import tarfile

import rust_source

# Parts of `src` and their limits. A file counts to the part that names the longest path above it. A limit above the aim
# is what is there, and is lowered as the part shrinks.
BUDGETS = {
    # One loop, sockets, runtimes, UDP offload, both drivers, what nodes share. Aim: 3700.
    'core of the adapters': (3885, ['adapters']),
    # Port, handles and options of a protocol. Aim: 650 each. The handles of CSP act on nodes of DTP too.
    'adapters of COTP': (1178, ['adapters/cotp', 'adapters/blocking/cotp', 'adapters/tokio/cotp']),
    'adapters of LTP': (882, ['adapters/ltp', 'adapters/blocking/ltp', 'adapters/tokio/ltp']),
    'adapters of CSP': (785, ['adapters/csp', 'adapters/blocking/csp', 'adapters/tokio/csp']),
    'adapters of DTP': (650, ['adapters/dtp', 'adapters/blocking/dtp', 'adapters/tokio/dtp']),
    # Carriers.
    'TLS': (150, ['adapters/tls']),
    'serial lines': (150, ['adapters/csp_serial', 'adapters/blocking/threaded_io']),
    'CAN': (150, ['adapters/csp_can']),
    'ZMQ': (150, ['adapters/csp_zmq']),
    # Aim: 9500.
    'LTP': (13869, ['ltp']),
}
SOURCE = pathlib.Path('src')


def working_tree():
    return rust_source.rust_files('.', [SOURCE])


def revision(name):
    packed = subprocess.run(['git', 'archive', name, str(SOURCE)], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {pathlib.Path(member.name): archive.extractfile(member).read().decode('utf-8')
                for member in archive if member.isfile() and member.name.endswith('.rs')}


def module(path, depth):
    parts = path.relative_to(SOURCE).with_suffix('').parts
    if parts[-1] == 'mod':
        parts = parts[:-1] + (('mod',) if len(parts) <= depth else ())
    return '/'.join(parts[:depth])


def count(files, depth=1):
    tests = rust_source.test_files(files)
    lines = collections.Counter()
    for path, text in files.items():
        if path not in tests:
            lines[module(path, depth)] += rust_source.code_lines(text)
    return lines


def budgeted(files):
    """Adds up the code lines of files by the parts that have a budget."""
    paths = {path: name for name, (_, paths) in BUDGETS.items() for path in paths}
    lines = collections.Counter()
    for file, number in files.items():
        if above := [path for path in paths if f'{file}/'.startswith(f'{path}/')]:
            lines[paths[max(above, key=len)]] += number
    return lines


def table(columns):
    names = sorted(set().union(*(lines for _, lines in columns)))
    rows = [(name, *(lines[name] for _, lines in columns)) for name in names]
    rows.append(('in all', *(lines.total() for _, lines in columns)))
    width = max(len(name) for name, *_ in rows)
    heads = [title for title, _ in columns]
    if len(columns) == 2:
        rows = [(*row, f'{row[2] - row[1]:+}') for row in rows]
        heads.append('change')
    yield ' '.join([' ' * width, *(f'{head:>12}' for head in heads)])
    for name, *cells in rows:
        yield ' '.join([f'{name:<{width}}', *(f'{cell:>12}' for cell in cells)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rev')
    parser.add_argument('--depth', type=int, default=1)
    asked = parser.parse_args()

    here = working_tree()
    columns = [('here', count(here, asked.depth))]
    if asked.rev:
        columns.insert(0, (asked.rev[:12], count(revision(asked.rev), asked.depth)))
    print('\n'.join(table(columns)))
    for name, lines in budgeted(count(here, depth=len(here))).items():
        print(f'{name}: {lines}')

    parts = budgeted(count(here, depth=len(here)))
    over = {name: limit for name, (limit, _) in BUDGETS.items() if parts[name] > limit}
    for name, limit in over.items():
        print(f'{name}: {parts[name]} code lines, the limit is {limit}')
    return 1 if over else 0


if __name__ == '__main__':
    sys.exit(main())
