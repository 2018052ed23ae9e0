"""Reads Rust sources as far as counting and checking needs it: comments, strings, test-only items."""

import pathlib
import re

TOKEN = re.compile(r'''
    (?P<comment> //[^\n]* | /\*.*?\*/ )
  | (?P<string>  \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes) | "(?:\\.|[^"\\])*" )
  | (?P<char>    '(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.))' )
''', re.DOTALL | re.VERBOSE)

TEST_ATTRIBUTE = re.compile(r'#\[cfg\((?:test|all\(test\b[^\]]*\)|all\([^\]()]*,\s*test\s*(?:,[^\]]*)?\))\)\]')
MODULE_FILE = re.compile(r'\bmod (\w+);')
ITEM = re.compile(r'(?:pub(?:\([^)]*\))?\s+)?(?:async |const |unsafe |extern )*(?:mod|fn|impl|use|struct|enum|trait|type|static|macro_rules)\b')

OPENING = '([{'
CLOSING = ')]}'


def blank(text):
    """Leaves blanks of the same length, so that offsets and line numbers stay."""
    return re.sub(r'[^\n]', ' ', text)


def without_comments(text):
    return TOKEN.sub(lambda token: blank(token.group()) if token['comment'] else token.group(), text)


def code_only(text):
    """Blanks comments and the contents of literals: what is left has balanced brackets."""
    def masked(token):
        found = token.group()
        return blank(found) if token['comment'] else found[0] + blank(found[1:-1]) + found[-1]
    return TOKEN.sub(masked, text)


def comments_only(text):
    parts, at = [], 0
    for token in TOKEN.finditer(text):
        if token['comment']:
            parts += [blank(text[at:token.start()]), token.group()]
            at = token.end()
    return ''.join(parts) + blank(text[at:])


def matching(code, start):
    """Returns the offset behind the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(code)):
        if code[at] in OPENING:
            depth += 1
        elif code[at] in CLOSING:
            depth -= 1
            if depth == 0:
                return at + 1
    return len(code)


def item_end(code, start):
    """Returns the offset behind the item, field or statement that begins at `start`."""
    at = start
    while attribute := re.compile(r'\s*#\[').match(code, at):
        at = matching(code, attribute.end() - 1)
    at += len(code[at:]) - len(code[at:].lstrip())
    is_item = ITEM.match(code, at)
    while at < len(code):
        if code[at] in '([':
            at = matching(code, at)
        elif code[at] == '{':
            at = matching(code, at)
            return at + 1 if code[at:at + 1] in (';', ',') else at
        elif code[at] == ';' or (code[at] == ',' and not is_item):
            return at + 1
        elif code[at] in CLOSING:
            return at
        else:
            at += 1
    return at


def test_spans(code):
    """Yields the spans of items that are compiled for tests only."""
    at = 0
    while match := TEST_ATTRIBUTE.search(code, at):
        at = item_end(code, match.end())
        yield match.start(), at


def without_tests(text):
    """Blanks the items that are compiled for tests only."""
    code = code_only(text)
    parts, at = [], 0
    for start, end in test_spans(code):
        parts += [text[at:start], blank(text[start:end])]
        at = end
    return ''.join(parts) + text[at:]


def test_files(files):
    """Returns the paths of files that are compiled for tests only, of a dict of path to text."""
    found = {path for path in files if path.name == 'tests.rs' or 'tests' in path.parts}
    for path, text in files.items():
        code = code_only(text)
        home = path.parent if path.stem in ('mod', 'lib', 'main') else path.parent / path.stem
        for start, end in test_spans(code):
            for name in MODULE_FILE.findall(code[start:end]):
                found |= {p for p in files if p == home / f'{name}.rs' or home / name in p.parents}
    return found


def code_lines(text):
    """Counts the lines that hold code: no comments, no blank lines, nothing for tests only."""
    return sum(bool(line.strip()) for line in without_tests(without_comments(text)).splitlines())


def rust_files(root, folders):
    return {path.relative_to(root): path.read_text(encoding='utf-8')
            for folder in folders for path in sorted(pathlib.Path(root, folder).rglob('*.rs'))}
