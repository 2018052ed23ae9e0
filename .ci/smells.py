#!/usr/bin/env python3
"""Looks for what the house does not want in its sources; prints path:line: finding.

The words it looks for are put together from halves, so that it does not find itself.
"""

import pathlib
import re
import subprocess
import sys

FILE_LIMIT = 800
SOURCES = ('.rs', '.py', '.sh', '.toml')

UNFINISHED = re.compile(r'\b(?:TO' r'DO|FIX' r'ME|XX' r'X)\b|\b(?:to' r'do|unimpl' r'emented)!')
PANICS = re.compile(r'\.unwrap\(\)|\.expect\(\s*"|\b(?:panic|unreachable)!|\bdbg!')
MACHINE_PATH = re.compile(r'(?<![\w./])/(?:wo' r'rk|t' r'mp|ro' r'ot|ho' r'me|fa' r'rm)/')
SILENCED = re.compile(r'#!?\[(?:allow|expect)\(([^]]*)\)\]', re.DOTALL)
TEST_MODULE = re.compile(r'^\s*#\[cfg\((?:test|all\(test, [^\n]*\))\)\]\n\s*(?:pub(?:\([a-z]+\))? )?mod \w+ \{', re.MULTILINE)


def tracked():
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    return [pathlib.Path(p) for p in listed.split('\0') if p and pathlib.Path(p).is_file()]


def is_test(path):
    return path.parts[0] != 'src' or path.name == 'tests.rs' or 'tests' in path.parts


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def without_tests(text):
    """Unit tests stand at the end of a file."""
    match = TEST_MODULE.search(text)
    return text[:match.start()] if match else text


def without_comments(text):
    """Leaves blanks of the same length, so that places stay where they are."""
    return re.sub(r'//.*', lambda comment: ' ' * len(comment.group()), text)


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
        for match in SILENCED.finditer(text):
            if 'reason' not in match.group(1):
                yield match.start(), 'a lint is silenced without a reason'
        if not is_test(path):
            code = without_comments(without_tests(text))
            for match in PANICS.finditer(code):
                if not is_meant(code, match):
                    yield match.start(), f'can panic: {match.group()}'


def main():
    count = 0
    paths = [p for p in tracked() if p.name != 'Cargo.lock']
    for path in paths:
        try:
            text = path.read_text(encoding='utf-8')
        except UnicodeDecodeError:
            continue
        for offset, finding in findings(path, text):
            count += 1
            print(f'{path}:{line_of(text, offset)}: {finding}')
    print(f'{len(paths)} files, {count} findings')
    return 1 if count else 0


if __name__ == '__main__':
    sys.exit(main())
