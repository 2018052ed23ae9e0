#!/usr/bin/env python3
"""Answers questions about Cargo.toml and the dependency tree.

  features        every feature but default, one a line
  core-features   those that do not pull in std, one a line
  targets KIND    names of the targets of a kind (test, bench, bin), one a line
  msrv            fails if a dependency needs a newer Rust than the crate promises
  std-free        fails if the core features turn a dependency's std feature on
"""

import json
import subprocess
import sys

LINKS_STD = 'std'


def cargo(*arguments):
    return subprocess.run(['cargo', *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def metadata(*arguments):
    return json.loads(cargo('metadata', '--format-version', '1', '--locked', *arguments))


def crate(tree):
    root = tree['resolve']['root'] if tree.get('resolve') else None
    return next(p for p in tree['packages'] if root in (None, p['id']))


def this_crate():
    return crate(metadata('--no-deps'))


def closure(features, name):
    seen, rest = set(), [name]
    while rest:
        feature = rest.pop()
        if feature not in seen:
            seen.add(feature)
            rest += [f for f in features[feature] if f in features]
    return seen


def core_features():
    features = this_crate()['features']
    return [f for f in features if f != 'default' and LINKS_STD not in closure(features, f)]


def version(text):
    numbers = [int(n) for n in text.split('-')[0].split('.')]
    return tuple(numbers + [0] * (3 - len(numbers)))


def check_msrv():
    tree = metadata('--all-features')
    promised = crate(tree)['rust_version']
    too_new = [f"{p['name']} {p['version']} needs Rust {p['rust_version']}"
               for p in tree['packages']
               if p['rust_version'] and version(p['rust_version']) > version(promised)]
    silent = sum(not p['rust_version'] for p in tree['packages'])
    print(f"{len(tree['packages'])} packages against Rust {promised}; {silent} do not say what they need")
    return too_new


def check_std_free():
    features = core_features()
    tree = cargo('tree', '--locked', '--edges', 'normal', '--prefix', 'none', '--format', '{p}|{f}',
                 '--no-default-features', '--features', ','.join(features))
    lines = {line for line in tree.splitlines() if '(proc-macro)' not in line and not line.endswith('(*)')}
    print(f"{len(lines)} packages with no default features and: {' '.join(features) or 'none'}")
    return [f'{package} has its std feature on'
            for package, _, on in (line.partition('|') for line in sorted(lines))
            if LINKS_STD in on.split(',')]


def fail_with(faults):
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def main():
    question, *rest = sys.argv[1:] or ['']
    if question == 'features':
        print('\n'.join(f for f in this_crate()['features'] if f != 'default'))
    elif question == 'core-features':
        print('\n'.join(core_features()))
    elif question == 'targets':
        print('\n'.join(t['name'] for t in this_crate()['targets'] if rest[0] in t['kind']))
    elif question == 'msrv':
        return fail_with(check_msrv())
    elif question == 'std-free':
        return fail_with(check_std_free())
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
