#!/usr/bin/env python3
"""Looks for what the house does not want in its sources; prints path:line: finding.

  smells.py            looks at every file that git knows or would add
  smells.py PATH...    reports only what is at or below these paths

The words it looks for are put together from halves, so that it does not find itself; names are in words.py.
"""

import collections
import pathlib
import re
import subprocess
import sys

import declarations
import rust_source
import words

FILE_LIMIT = 800
SOURCES = ('.rs', '.py', '.sh', '.toml')
NAMED_IN = ('src', 'tests', 'benches', 'fuzz', 'examples')
# Each side has its own handles under the same names, so that code moves from one to the other.
FACES = re.compile(r'^src/adapters/(?:blocking|tokio)\b')

UNFINISHED = re.compile(r'\b(?:TO' r'DO|FIX' r'ME|XX' r'X)\b|\b(?:to' r'do|unimpl' r'emented)!')
PANICS = re.compile(r'\.unwrap\(\)|\.expect\(\s*"|\b(?:panic|unreachable)!|\bdbg!')
MACHINE_PATH = re.compile(r'(?<![\w./])/(?:wo' r'rk|t' r'mp|ro' r'ot|ho' r'me|fa' r'rm)/')
SILENCED = re.compile(r'#!?\[(?:allow|expect)\(([^]]*)\)\]', re.DOTALL)
PRIVATE_NUMBER = re.compile(r'\b[PR]\d{1,2}\b')
TESTS_INCLUDED = re.compile(r'#\[(?:cfg_attr\([^\n]*)?path = "[^"]*tests/[^"]*"|\binclude(?:_str|_bytes)?!\(\s*"[^"]*tests/[^"]*"')


def tracked():
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    return [pathlib.Path(p) for p in listed.split('\0') if p and pathlib.Path(p).is_file()]


def is_test(path):
    return path.parts[0] != 'src' or path.name == 'tests.rs' or 'tests' in path.parts


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def is_meant(code, panic):
    """A function that fails tests says so by a lint expectation, which clippy holds to its word."""
    function = code.rfind('\nfn ', 0, panic.start())
    function = max(function, code.rfind('\npub fn ', 0, panic.start()))
    attributes = code[max(0, function - 200):function]
    return panic.group() == 'panic!' and 'expect(clippy::panic' in attributes.rpartition('\n}')[2]


def findings(path, text):
    for match in MACHINE_PATH.finditer(text):
        yield match.start(), f'path of one machine: {match.group()}'
    if path.suffix not in SOURCES:
        return
    for match in UNFINISHED.finditer(text):
        yield match.start(), f'unfinished: {match.group()}'
    for match in re.finditer(r'[^\x00-\x7f]', text):
        yield match.start(), f'not ASCII: U+{ord(match.group()):04X}'
    if path.suffix != '.toml' and (lines := text.count('\n')) > FILE_LIMIT:
        yield len(text), f'{lines} lines, the limit is {FILE_LIMIT}'
    if path.suffix == '.rs':
        yield from rust_findings(path, text)


def rust_findings(path, text):
    for match in SILENCED.finditer(text):
        if 'reason' not in match.group(1):
            yield match.start(), 'a lint is silenced without a reason'
    for match in PRIVATE_NUMBER.finditer(rust_source.comments_only(text)):
        yield match.start(), f'a numbering that is not in the tree: {match.group()}'
    if path.parts[0] == 'src':
        for match in TESTS_INCLUDED.finditer(rust_source.without_comments(text)):
            yield match.start(), f'src includes tests: {match.group()}'
    if not is_test(path):
        code = rust_source.without_comments(rust_source.without_tests(text))
        for match in PANICS.finditer(code):
            if not is_meant(code, match):
                yield match.start(), f'can panic: {match.group()}'
    if path.parts[0] in NAMED_IN:
        yield from name_findings(path, text)


def name_findings(path, text):
    declared = [('module', name, 0) for name in declarations.modules_of(path)]
    declared += declarations.declarations(rust_source.code_only(text))
    for kind, name, offset in declared:
        if instead := words.replacement(kind, name, str(path)):
            yield offset, f'the {kind} {name} is a metaphor; use {instead}'


def repeated_types(texts):
    """Yields the public types that have a name in common, unless each protocol has one or an RFC gave it."""
    declared = collections.defaultdict(list)
    for path, text in texts.items():
        if path.parts[0] != 'src' or path.suffix != '.rs' or 'bin' in path.parts or is_test(path):
            continue
        if FACES.match(str(path)) or path.name == 'wire.rs':
            continue
        code = rust_source.code_only(rust_source.without_tests(text))
        for name, offset in declarations.public_types(code):
            declared[name].append((path, offset))
    for name, places in declared.items():
        if len(places) > 1 and name not in words.SHARED_TYPES:
            for path, offset in places:
                others = ', '.join(str(p) for p, _ in places if p != path)
                yield path, offset, f'type {name} is public in {others} too'


def report(wanted, texts):
    found = [(path, *finding) for path, text in texts.items() for finding in findings(path, text)]
    found += repeated_types(texts)
    found = [(path, *rest) for path, *rest in found if not wanted or any(w == path or w in path.parents for w in wanted)]
    for path, offset, finding in sorted(found, key=lambda f: (f[0], f[1])):
        print(f'{path}:{line_of(texts[path], offset)}: {finding}')
    counted = collections.Counter('/'.join(path.parent.parts[:3]) or '.' for path, *_ in found)
    for folder, count in sorted(counted.items()):
        print(f'{count:5} {folder}')
    return len(found)


def main():
    texts = {}
    for path in tracked():
        try:
            if path.name != 'Cargo.lock':
                texts[path] = path.read_text(encoding='utf-8')
        except UnicodeDecodeError:
            continue
    count = report([pathlib.Path(argument) for argument in sys.argv[1:]], texts)
    print(f'{len(texts)} files, {count} findings')
    return 1 if count else 0


if __name__ == '__main__':
    sys.exit(main())
