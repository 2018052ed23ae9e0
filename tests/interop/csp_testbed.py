"""The codec of the PyPI package cubesat-testbed for CSP version 2 on CAN.

Reads JSON lines. A frame, {"identifier": N, "data": "hex"}, is decoded; a packet, an object with the fields that
are printed, is packed into a frame. Prints what comes of it, one JSON object per line.
"""

import json
import sys

from cubesat_testbed.protocol.csp_v2 import CspFields, pack, unpack

FIELDS = ('priority', 'source', 'destination', 'destination_port', 'source_port', 'flags')

for line in sys.stdin:
    asked = json.loads(line)
    if 'identifier' in asked:
        packet = unpack(asked['identifier'], bytes.fromhex(asked['data']))
        answer = {name: int(getattr(packet.fields, name)) for name in FIELDS}
        answer.update(data=bytes(packet.payload).hex(), sender=packet.can_fields.sender)
    else:
        frame = pack(CspFields(**{name: asked[name] for name in FIELDS}), bytes.fromhex(asked['data']),
                     sender=asked['sender'], packet_count=asked['number'])
        answer = {'identifier': frame.can_id, 'data': bytes(frame.data).hex()}
    print(json.dumps(answer), flush=True)
