#!/usr/bin/env python3
"""Writes known_answers.toml: segments with the authentication of RFC 5327, made without farlink.

HMAC is written out by hand from RFC 2104 over hashlib, and checked against the hmac module; RSA keys and
signatures are made by the `cryptography` package (OpenSSL). Keys are new in each run, and for tests alone.

  python3 make.py > known_answers.toml
"""

import hashlib
import hmac

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

NULL_KEY = bytes.fromhex('c37b7e6492584340bed12207808941155068f738')
PLAIN = serialization.NoEncryption()
DER = serialization.Encoding.DER


def sdnv(value):
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.insert(0, 0x80 | value & 0x7F)
    return bytes(octets)


def hmac_sha1(key, message):
    block = (hashlib.sha1(key).digest() if len(key) > 64 else key).ljust(64, b'\0')
    inner = hashlib.sha1(bytes(o ^ 0x36 for o in block) + message).digest()
    value = hashlib.sha1(bytes(o ^ 0x5C for o in block) + inner).digest()
    assert value == hmac.digest(key, message, 'sha1')
    return value[:10]


class Mac:
    def __init__(self, suite, name, key):
        self.suite, self.name, self.key, self.size = suite, name, key, 10

    def sign(self, covered):
        return hmac_sha1(self.key, covered)

    def fields(self):
        return {'secret': self.key}


class Rsa:
    def __init__(self, name, bits):
        self.suite, self.name, self.size = 1, name, bits // 8
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    def sign(self, covered):
        return self.key.sign(covered, padding.PKCS1v15(), hashes.SHA256())

    def fields(self):
        public = self.key.public_key()
        private, spki = serialization.PrivateFormat, serialization.PublicFormat
        return {
            'pkcs8': self.key.private_bytes(DER, private.PKCS8, PLAIN),
            'pkcs1': self.key.private_bytes(DER, private.TraditionalOpenSSL, PLAIN),
            'spki': public.public_bytes(DER, spki.SubjectPublicKeyInfo),
            'public_pkcs1': public.public_bytes(DER, spki.PKCS1),
        }


def extension(tag, value):
    return bytes([tag]) + sdnv(len(value)) + value


def named(key):
    return extension(0, bytes([key.suite]) + key.name)


def segment(number, headers, trailers, data=b'A'):
    """A red segment of engine 1 for client 4 that is a whole block: type 3, checkpoint serial 5.

    A trailer is an extension, or a key whose value covers what precedes it.
    """
    head = bytes([3]) + sdnv(1) + sdnv(number) + bytes([len(headers) << 4 | len(trailers)])
    body = sdnv(4) + sdnv(0) + sdnv(len(data)) + sdnv(5) + sdnv(0) + data
    octets = head + b''.join(headers) + body
    for trailer in trailers:
        if isinstance(trailer, bytes):
            octets += trailer
        else:
            octets += bytes([0]) + sdnv(trailer.size)
            octets += trailer.sign(octets)
    return octets


def with_trailer_behind(key, behind):
    """To the letter everything but the value is covered: also a trailer behind it."""
    head = segment(7, [named(key)], [])
    head = head[:3] + bytes([0x12]) + head[4:] + bytes([0]) + sdnv(key.size)
    return head + key.sign(head + behind) + behind


def table(kind, **fields):
    print(f'\n[[{kind}]]')
    for name, value in fields.items():
        print(f'{name} = ' + (f'"{value.hex()}"' if isinstance(value, bytes) else repr(value).replace("'", '"')))


def main():
    null = Mac(255, b'', NULL_KEY)
    # The key ID of the example in RFC 5327 section 2.1.
    shared = Mac(0, b'\x24', b'a shared secret')
    other = Mac(0, b'other', bytes(range(100)))
    small, large = Rsa(b'', 1024), Rsa(b'issuer and serial', 2048)
    keys = {'null': null, 'shared': shared, 'other': other, 'rsa 1024': small, 'rsa 2048': large}
    print('# Segments under RFC 5327 section 2.1. Made by make.py beside this file, with Python 3 and the')
    print('# `cryptography` package, on 2026-11-21; no code of farlink took part. Octets in hex.')
    for name, key in keys.items():
        table('key', name=name, suite=key.suite, id=key.name, **key.fields())
    for name, key in keys.items():
        table('segment', name=f'{name}, last', key=name, octets=segment(7, [named(key)], [key]))
        table('segment', name=f'{name}, 300 octets', key=name,
              octets=segment(300, [named(key)], [key], bytes(o % 251 for o in range(300))))
        table('segment', name=f'{name}, with a trailer behind', key=name,
              octets=with_trailer_behind(key, extension(0xC0, b'behind')))
        table('segment', name=f'{name}, with a trailer before', key=name,
              octets=segment(7, [named(key)], [extension(0xC0, b'before'), key]))
        rival = other if key is not other else shared
        for order in ([key, rival], [rival, key]):
            place = 'first' if order[0] is key else 'second'
            table('segment', name=f'{name}, {place} of two', key=name,
                  octets=segment(7, [named(one) for one in order], order))
        table('later', name=f'{name}, no header extension', key=name, octets=segment(7, [], [key], b'A'))


if __name__ == '__main__':
    main()
