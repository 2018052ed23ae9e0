"""Finds what a Rust source declares: types, variants, functions, modules, fields; with the offset of each."""

import re

import rust_source

DECLARED = {
    'type': re.compile(r'\b(?:struct|enum|union|trait|type)\s+(\w+)'),
    'function': re.compile(r'\bfn\s+(\w+)'),
    'module': re.compile(r'\bmod\s+(\w+)'),
}
BODY = re.compile(r'\b(struct|enum|union)\s+\w+[^;{(]*\{')
FIELD = re.compile(r'[{,]\s*(?:pub(?:\([^)]*\))?\s+)?(\w+)\s*:(?!:)')
ATTRIBUTE = re.compile(r'#\[[^\]]*\]')
PUBLIC_TYPE = re.compile(r'\bpub (?:struct|enum|trait|union|type)\s+(\w+)')


def variants(body):
    """Yields the identifiers that stand first in an enum's body, and first after each comma in it."""
    depth, expected = 0, False
    for at, character in enumerate(body):
        if character in '([{':
            depth += 1
            expected = depth == 1
        elif character in ')]}':
            depth -= 1
        elif depth == 1 and character == ',':
            expected = True
        elif expected and depth == 1 and character.isidentifier():
            yield re.compile(r'\w+').match(body, at)
            expected = False


def declarations(code):
    """Yields kind, name and offset of all that code without comments declares."""
    for kind, pattern in DECLARED.items():
        for match in pattern.finditer(code):
            yield kind, match[1], match.start(1)
    for head in BODY.finditer(code):
        start = head.end() - 1
        body = ATTRIBUTE.sub(lambda a: rust_source.blank(a.group()), code[start:rust_source.matching(code, start)])
        for match in FIELD.finditer(body):
            yield 'field', match[1], start + match.start(1)
        if head[1] == 'enum':
            for match in variants(body):
                yield 'variant', match.group(), start + match.start()


def public_types(code):
    for match in PUBLIC_TYPE.finditer(code):
        yield match[1], match.start(1)


def modules_of(path):
    """Returns the names of modules that the path itself spells."""
    names = list(path.parts[1:-1])
    return names if path.stem in ('mod', 'lib', 'main') else [*names, path.stem]
