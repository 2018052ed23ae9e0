#!/usr/bin/env python3
"""Answers questions about Cargo.toml and the dependency tree.

  features        every feature but default, one a line
  core-features   those that do not pull in std, one a line
  portable        those that need neither sockets nor the randomness of a system, one a line
  targets KIND    names of the targets of a kind (test, bench, bin), one a line
  rust-version    the oldest Rust that the crate promises to build with
  package         name and version, joined as in the name of the published file
  previous        the last commit of the version before this one, and that version
  may-break OLD   succeeds if the step from version OLD to this one may break the public interface
  msrv            fails if a dependency needs a newer Rust than the crate promises
  std-free        fails if the core features turn a dependency's std feature on
"""

import json
import subprocess
import sys
import tomllib

LINKS_STD = 'std'
NEEDS_A_SYSTEM = {'dep:getrandom', 'dep:serial2', 'dep:socket2', 'dep:zeromq'}


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
            rest += features.get(feature, [])
    return seen


def core_features():
    features = this_crate()['features']
    return [f for f in features if f != 'default' and LINKS_STD not in closure(features, f)]


def portable_features():
    features = this_crate()['features']
    return [f for f in features if f != 'default' and not closure(features, f) & NEEDS_A_SYSTEM]


def git(*arguments):
    return subprocess.run(['git', *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def previous_version():
    """The version is raised by the first change after a release, so what precedes that change was released."""
    current = this_crate()['version']
    for commit in git('log', '--first-parent', '--format=%H', '--', 'Cargo.toml').split():
        before = git('rev-parse', '--verify', f'{commit}^').strip()
        manifest = tomllib.loads(git('show', f'{before}:Cargo.toml'))
        if manifest['package']['version'] != current:
            return before, manifest['package']['version']
    raise SystemExit('no commit has another version')


def version(text):
    numbers = [int(n) for n in text.split('-')[0].split('.')]
    return tuple(numbers + [0] * (3 - len(numbers)))


def may_break(old, new):
    """Semantic versioning as cargo reads it: the first number that is not zero stands for compatibility."""
    def leading(numbers):
        return numbers[:next((at for at, number in enumerate(numbers) if number), 2) + 1]
    return leading(version(old)) != leading(version(new))


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
    elif question == 'portable':
        print('\n'.join(portable_features()))
    elif question == 'rust-version':
        print(this_crate()['rust_version'])
    elif question == 'package':
        print('{name}-{version}'.format_map(this_crate()))
    elif question == 'may-break':
        return 0 if may_break(rest[0], this_crate()['version']) else 1
    elif question == 'previous':
        print(*previous_version())
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
