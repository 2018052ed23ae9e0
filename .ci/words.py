"""Names that say nothing to a reader who did not write them, and what to write.

A row: what it names, where it may not stand (a pattern of the path), the words, the replacement. Words are
whole identifiers, case-sensitive. A word that is also plain English is listed only as what, and only where,
it was a metaphor.
"""

import collections
import re

EVERYWHERE = ''
TYPE = {'type'}
NAME = {'type', 'variant', 'function', 'module', 'field'}
MODULE = {'module'}
FUNCTION = {'function'}
FIELD = {'field'}
MEMBER = {'field', 'function'}

Row = collections.namedtuple('Row', 'kinds where words replacement')

ADAPTERS = r'adapters'
BINARY = r'^src/bin/'
LAWS = r'^src/laws/|laws\.rs|^tests/laws'
LTP = r'^src/ltp/|^src/adapters/ltp|ltp'
RECORD = r'^src/record/|^tests/(replays|record)'
SIM = r'^src/sim/|^tests/(sim|stories)'

ROWS = [Row(kinds, where, words.split(), replacement) for kinds, where, words, replacement in (
    # Contract.
    (TYPE | FUNCTION, EVERYWHERE, 'Chance chance', '`Rng`, `Seed::rng`'),
    (NAME, EVERYWHERE, 'HandOver Handed hand_over handed handed_over take_over', '`Detach`, `Detached`, `detach`'),
    ({'variant', 'type'}, EVERYWHERE, 'Hand', '`Detach`'),
    (FUNCTION, EVERYWHERE, 'receive_train', '`receive_batch`'),

    # Adapters.
    (NAME, EVERYWHERE, 'Hall hall Station station Desk desk', '`Shared`, `AcceptQueue`, a `Port`'),
    (NAME, EVERYWHERE, 'Clerk clerk Porter porter Door door', 'a `Port`, `PeerFilter`'),
    (NAME, EVERYWHERE, 'Bell bell Bells bells Alarm', '`ReadySet`, `wake`, `PanicGuard`'),
    (NAME, EVERYWHERE, 'Inlet inlet Outlet outlet', '`Receiver`, `Sender`'),
    (TYPE | MODULE, ADAPTERS, 'Inbox inbox Train train', '`RecvBuffers`, `GroBatch`'),
    (TYPE, EVERYWHERE, 'Course Seat Access Tracked', '`SendState`, `ServiceRef`, `ServiceHandle`, `SendHandle`'),
    (TYPE, ADAPTERS, 'Point Keep', '`ServiceQueue`, `NodeRef`'),
    (TYPE, EVERYWHERE, 'Leaving Asking Starting Receiving', '`Shutdown`, `PingFuture`, `SendFuture`, `ReceiveFuture`'),
    (TYPE, ADAPTERS, 'Order Told', '`Request`, `Notification`'),
    (MEMBER, ADAPTERS, 'unfilled patience', '`blocked`, `drain_timeout`'),
    (TYPE, r'^src/', 'Speaker Around Maker', '`BoxedMachine`, `MachineFactory`'),
    (TYPE | MODULE, EVERYWHERE, 'Overheard LastWord News news', 'what the event is'),
    (TYPE | MODULE, ADAPTERS, 'Opening opening Answer Sort', 'what the event is'),
    (TYPE | MODULE, ADAPTERS, 'Drive drive Load Keeper', '`needs_poll`, `linger_until`'),
    (MEMBER, EVERYWHERE, 'restless lingers bury forsake hush abandon call_off',
     '`needs_poll`, `linger_until`, `report_broken`, `handles_dropped`, `shutdown_read`, `poison`, `cancel_start`'),
    (TYPE, ADAPTERS, 'Found Whose Relay', '`Poll`'),
    (FUNCTION, EVERYWHERE, 'take_turn stir', '`wake`'),
    (FUNCTION, ADAPTERS, 'when look part order ring hang', '`wait_until`, `join`, `with_and_wake`, `wake`, `register`'),
    (MODULE, ADAPTERS, 'park', '`block_on`'),
    (TYPE, r'adapters/tokio', 'Line', '`StreamIo`'),
    (TYPE, EVERYWHERE, 'Goal Visit Front Carriers Outlook',
     '`ShutdownState`, `IoEvent`, `Application`, `Transport`, `Liveness`'),

    # COTP.
    ({'type', 'variant'}, EVERYWHERE, 'Farewell Foreign', '`SendDisconnect`, `NonTpkt`'),

    # LTP.
    (NAME, EVERYWHERE, 'Brief brief unfold', '`SingleSegment`, `expand`'),
    (TYPE, LTP, 'Told', '`SentReport`'),
    ({'type', 'variant', 'module'}, EVERYWHERE, 'presence Welcome Stranger', '`unknown_peers`, `UnknownPeerPolicy`, `UnknownPeer`'),
    (FUNCTION, EVERYWHERE, 'on_pong has_way', '`ping`, `can_send`'),
    ({'type', 'variant'}, EVERYWHERE, 'Ways FromPeer ToPeer OneWay', '`Direction::{Both, ReceiveOnly, SendOnly}`'),
    ({'type', 'variant'}, LTP, 'Margins Copies', '`RtoPolicy`, `Redundancy`'),
    (FIELD, r'^src/ltp/', 'spread', '`spacing`'),
    (MEMBER, r'^src/ltp/', 'echo', '`duplicate repairs`'),
    (TYPE, r'^src/ltp/', 'Wish Run Spare', '`PendingReport`, `Retransmission`, `BufferPool`'),
    ({'type', 'variant'}, r'^src/ltp/', 'Again', '`CheckpointRetry`'),
    (MODULE, r'^src/ltp/', 'spare', '`buffer_pool`'),
    (FIELD, r'^src/ltp/', 'starved departed lives passed spoke resumed',
     '`blocked_peers`, `first_pass_done`, `incarnation`, `tx_clock`, `last_heard`, `contact_start`'),

    # Laws.
    (NAME, EVERYWHERE, 'Breach breach', '`Violation`'),
    (TYPE | MODULE, r'^src/', 'Watch watch', '`Checker`'),
    (MODULE, r'^src/laws/', 'bench', '`runner`'),
    (TYPE, EVERYWHERE, 'Subject Fed', '`LawSubject`, `DrainInput`'),
    (FUNCTION, LAWS, 'held ceiling', '`memory_used`, `memory_limit`'),

    # Recorder.
    (NAME, EVERYWHERE, 'Tape tape Sheet', '`CallWriter`, `PendingPacket`'),
    (NAME, RECORD, 'Pages pages', '`SectionWriter`'),
    (TYPE, RECORD, 'Load Known', '`Payload`, `AddressEntry`'),
    (NAME, EVERYWHERE, 'births', '`stream_count`'),
    (TYPE | MODULE, EVERYWHERE, 'Place Lane lane', '`RecordAddr`, `HostSlot`, `Interface`'),
    (MODULE, RECORD, 'pieces synth composer ways', '`ip_reassembly`, `headers`, `TraceWriter`'),

    # Simulator.
    (NAME, EVERYWHERE, 'Happening happening Agenda agenda', '`Event`, `EventQueue`'),
    (TYPE, r'^src/sim/happening', 'Plan', '`EventRef`'),
    (NAME, EVERYWHERE, 'Dice dice Pen pen', '`rng`, `svg/writer`'),
    (TYPE | FIELD, EVERYWHERE, 'Doom doom', '`Fault`'),
    (TYPE | FIELD, EVERYWHERE, 'Fate fate', '`Outcome`'),
    (TYPE | FIELD, SIM, 'Why Sight Chosen Moving Moment',
     '`DropReason`, `PacketView`, `DropRule`, `VariableDelay`, `When`'),
    (TYPE | MODULE, SIM, 'Noted Seen seen Keep told', '`Entry`, `ExternalTrace`, `Capture`, `report`'),
    (TYPE, EVERYWHERE, 'Lodging', '`HostSlot`'),
    ({'type', 'module', 'field'}, SIM, 'Way way', '`direction`'),
    (FUNCTION | MODULE, r'^src/sim/', 'ahead glance', 'no prefetching'),

    # The tool.
    (NAME, EVERYWHERE, 'Shelf shelf', '`BlockStore`'),
    (TYPE, BINARY, 'Part Kept Out Form Way', '`Fragment`, `StoredBlock`, `Output`, `OutputFormat`, `Direction`'),
    (MODULE, BINARY, 'place told', '`peer_addr`, `report`'),
)]

BY_WORD = collections.defaultdict(list)
for row in ROWS:
    for word in row.words:
        BY_WORD[word].append(row)

# What every protocol, or every part that drives one, may have under the same name.
SHARED_TYPES = set('''
    Config Command Event Error ConfigError Stats Limits Timers Client Server Node
    Connection Listener Label Labels Reason
'''.split())


def replacement(kind, word, path):
    """Returns what to write, or None where the word may stand."""
    return next((row.replacement for row in BY_WORD[word] if kind in row.kinds and re.search(row.where, path)), None)
