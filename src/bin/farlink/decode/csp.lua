-- A dissector of Wireshark and tshark for CSP version 1 and 2, RDP and SFP, and for DTP, the protocol of libdtp.
--
--   farlink decode --dissector > csp.lua
--   tshark -X lua_script:csp.lua -r capture.pcapng
--
-- It reads UDP at port 9600 (or any by "Decode As"), Ethernet with the ethertype 0x88B5, CAN by CFP1 and CFP2, and the
-- buses of recordings whose packets have no frame around them.
-- Nothing in a packet tells its version: -o "csp.version:Version 1" sets it, version 2 is the default.

local csp = Proto("csp", "Cubesat Space Protocol")
local rdp = Proto("csp.rdp", "Reliable Data Protocol of CSP")
local sfp = Proto("csp.sfp", "Fragmentation of CSP")
local dtp = Proto("dtp-csp", "Data Transfer Protocol over CSP")
local cfp = Proto("csp.cfp", "CAN Fragmentation Protocol of CSP")
local efp = Proto("csp.eth", "Ethernet Fragmentation Protocol of CSP")

local VERSIONS = { { 1, "Version 1", 1 }, { 2, "Version 2", 2 } }
csp.prefs.version = Pref.enum("Version", 2, "The version of headers in the network", VERSIONS, false)

local PRIORITIES = { [0] = "critical", "high", "normal", "low" }
local STATUS = { [0] = "wrong", "right", "right, with the header" }
local SERVICES = { [0] = "CMP", "ping", "process list", "free memory", "reboot", "free buffers", "uptime" }

local function fields(proto, list)
    local named = {}
    for _, field in pairs(list) do
        named[#named + 1] = field
    end
    proto.fields = named
    return list
end

local f = fields(csp, {
    priority = ProtoField.uint8("csp.priority", "Priority", base.DEC, PRIORITIES),
    source = ProtoField.uint16("csp.source", "Source"),
    destination = ProtoField.uint16("csp.destination", "Destination"),
    source_port = ProtoField.uint8("csp.source_port", "Source port"),
    destination_port = ProtoField.uint8("csp.destination_port", "Destination port"),
    flags = ProtoField.uint8("csp.flags", "Flags", base.HEX),
    is_crc32 = ProtoField.bool("csp.flags.crc32", "CRC32", 8, nil, 0x01),
    is_rdp = ProtoField.bool("csp.flags.rdp", "RDP", 8, nil, 0x02),
    is_xtea = ProtoField.bool("csp.flags.xtea", "XTEA", 8, nil, 0x04),
    is_hmac = ProtoField.bool("csp.flags.hmac", "HMAC", 8, nil, 0x08),
    is_frag = ProtoField.bool("csp.flags.frag", "SFP", 8, nil, 0x10),
    data = ProtoField.bytes("csp.data", "Data"),
    hmac = ProtoField.bytes("csp.hmac", "HMAC"),
    crc32 = ProtoField.uint32("csp.crc32", "CRC32", base.HEX),
    crc32_status = ProtoField.uint8("csp.crc32.status", "CRC32 status", base.DEC, STATUS),
})

local r = fields(rdp, {
    flags = ProtoField.uint8("csp.rdp.flags", "Flags", base.HEX, nil, 0x0F),
    is_syn = ProtoField.bool("csp.rdp.syn", "SYN", 8, nil, 0x08),
    is_ack = ProtoField.bool("csp.rdp.ack", "ACK", 8, nil, 0x04),
    is_eack = ProtoField.bool("csp.rdp.eack", "EACK", 8, nil, 0x02),
    is_rst = ProtoField.bool("csp.rdp.rst", "RST", 8, nil, 0x01),
    counter = ProtoField.uint8("csp.rdp.counter", "Counter", base.DEC, nil, 0xF0),
    sequence = ProtoField.uint16("csp.rdp.sequence", "Sequence number"),
    acknowledgement = ProtoField.uint16("csp.rdp.acknowledgement", "Acknowledgement number"),
    window = ProtoField.uint32("csp.rdp.window", "Window"),
    connection_timeout = ProtoField.uint32("csp.rdp.connection_timeout", "Connection timeout (ms)"),
    packet_timeout = ProtoField.uint32("csp.rdp.packet_timeout", "Packet timeout (ms)"),
    delayed_acks = ProtoField.uint32("csp.rdp.delayed_acks", "Delayed ACKs"),
    ack_timeout = ProtoField.uint32("csp.rdp.ack_timeout", "ACK timeout (ms)"),
    ack_delay_count = ProtoField.uint32("csp.rdp.ack_delay_count", "ACK delay count"),
    out_of_order = ProtoField.uint16("csp.rdp.out_of_order", "Received out of order"),
})

local s = fields(sfp, {
    offset = ProtoField.uint32("csp.sfp.offset", "Offset"),
    total = ProtoField.uint32("csp.sfp.total", "Octets in all"),
})

local d = fields(dtp, {
    throughput = ProtoField.uint32("dtp-csp.throughput", "Throughput (octets per second)"),
    intervals = ProtoField.uint8("dtp-csp.intervals", "Intervals"),
    payload = ProtoField.uint8("dtp-csp.payload", "Payload"),
    session = ProtoField.uint32("dtp-csp.session", "Session", base.HEX),
    mtu = ProtoField.uint16("dtp-csp.mtu", "MTU"),
    keep_alive = ProtoField.uint32("dtp-csp.keep_alive", "Keep-alive"),
    first = ProtoField.uint32("dtp-csp.first", "First packet"),
    last = ProtoField.uint32("dtp-csp.last", "Last packet"),
    size = ProtoField.uint32("dtp-csp.size", "Octets to come"),
    payload_size = ProtoField.uint32("dtp-csp.payload_size", "Octets of the payload"),
    offset = ProtoField.uint32("dtp-csp.offset", "Offset"),
    data = ProtoField.bytes("dtp-csp.data", "Data"),
})

local c = fields(cfp, {
    priority = ProtoField.uint8("csp.cfp.priority", "Priority", base.DEC, PRIORITIES),
    source = ProtoField.uint8("csp.cfp.source", "Source"),
    destination = ProtoField.uint16("csp.cfp.destination", "Destination or next hop"),
    is_more = ProtoField.bool("csp.cfp.more", "Not the first frame"),
    remaining = ProtoField.uint8("csp.cfp.remaining", "Frames to come"),
    identifier = ProtoField.uint16("csp.cfp.identifier", "Identifier"),
    sender = ProtoField.uint8("csp.cfp.sender", "Sender"),
    packet = ProtoField.uint8("csp.cfp.packet", "Packet counter"),
    frame = ProtoField.uint8("csp.cfp.frame", "Frame counter"),
    is_begin = ProtoField.bool("csp.cfp.begin", "Begin"),
    is_end = ProtoField.bool("csp.cfp.end", "End"),
    length = ProtoField.uint16("csp.cfp.length", "Octets of data"),
})

local e = fields(efp, {
    packet = ProtoField.uint16("csp.eth.packet", "Packet"),
    source = ProtoField.uint16("csp.eth.source", "Source"),
    segment = ProtoField.uint16("csp.eth.segment", "Octets of the segment"),
    length = ProtoField.uint16("csp.eth.length", "Octets of the packet"),
})

-- The bits of a number from one on, in a way that all versions of Lua have.
local function extract(number, at, count)
    return math.floor(number / 2 ^ at) % 2 ^ count
end

local function has_flag(flags, flag)
    return math.floor(flags / flag) % 2 == 1
end

-- CRC-32C of RFC 3720. Wireshark has the library `bit` with each version of Lua.
local TABLE = {}
for octet = 0, 255 do
    local value = octet
    for _ = 1, 8 do
        local low = bit.band(value, 1)
        value = bit.bxor(bit.rshift(value, 1), low * 0x82F63B78)
    end
    TABLE[octet] = value
end

local function crc32c(octets)
    local value = 0xFFFFFFFF
    for at = 0, octets:len() - 1 do
        local index = bit.band(bit.bxor(value, octets:get_index(at)), 0xFF)
        value = bit.bxor(bit.rshift(value, 8), TABLE[index])
    end
    return bit.bnot(value) % 2 ^ 32
end

-- Nodes of farlink send messages of their own to each other on the connection of a request.
local OWN = { FDta = "ask", FDtd = "end of a round" }

local function dissect_dtp(data, is_rdp, header, pinfo, tree)
    if data:len() < 8 then return false end
    local kind
    if not is_rdp then
        kind = header.destination_port == 8 and "data"
    elseif header.destination_port == 7 or header.source_port == 7 then
        kind = OWN[data(0, 4):string()]
        if not kind and header.source_port == 7 then kind = "response" end
        if not kind and (data:len() == 80 or data:len() == 84) then kind = "request" end
    end
    if not kind then return false end
    local here = tree:add(dtp, data, "Data Transfer Protocol, " .. kind)
    pinfo.cols.protocol = "DTP"
    pinfo.cols.info:append(", DTP " .. kind)
    if kind == "data" then
        here:add_le(d.offset, data(0, 4))
        here:add_le(d.session, data(4, 4))
        if data:len() > 8 then here:add(d.data, data(8)) end
    elseif kind == "response" then
        here:add_le(d.size, data(0, 4))
        here:add_le(d.payload_size, data(4, 4))
    elseif kind ~= "request" then
        here:add_le(d.session, data(4, 4))
    else
        here:add_le(d.throughput, data(0, 4))
        here:add(d.intervals, data(4, 1))
        here:add(d.payload, data(5, 1))
        here:add_le(d.session, data(8, 4))
        here:add_le(d.mtu, data(12, 2))
        local at = data:len() - 64
        here:add_le(d.keep_alive, at == 16 and data(14, 2) or data(16, 4))
        for _ = 1, math.min(data(4, 1):uint(), 8) do
            here:add_le(d.first, data(at, 4))
            here:add_le(d.last, data(at + 4, 4))
            at = at + 8
        end
    end
    return true
end

local function dissect_rdp(data, pinfo, tree)
    local trailer = data(data:len() - 5)
    local here = tree:add(rdp, trailer)
    local flags = trailer(0, 1):uint()
    local names = {}
    for _, it in ipairs({ { 8, "SYN" }, { 4, "ACK" }, { 2, "EACK" }, { 1, "RST" } }) do
        if has_flag(flags, it[1]) then names[#names + 1] = it[2] end
    end
    for _, field in ipairs({ r.flags, r.is_syn, r.is_ack, r.is_eack, r.is_rst, r.counter }) do
        here:add(field, trailer(0, 1))
    end
    here:add(r.sequence, trailer(1, 2))
    here:add(r.acknowledgement, trailer(3, 2))
    pinfo.cols.info:append(string.format(", RDP %s seq %d ack %d", table.concat(names, "+"),
        trailer(1, 2):uint(), trailer(3, 2):uint()))
    if data:len() == 5 then return nil end
    local rest = data(0, data:len() - 5)
    if has_flag(flags, 8) and rest:len() >= 24 then
        local options = { r.window, r.connection_timeout, r.packet_timeout, r.delayed_acks, r.ack_timeout,
            r.ack_delay_count }
        for place, field in ipairs(options) do
            here:add(field, rest(4 * place - 4, 4))
        end
        return nil
    elseif has_flag(flags, 2) then
        for at = 0, rest:len() - 2, 2 do
            here:add(r.out_of_order, rest(at, 2))
        end
        return nil
    end
    return rest
end

-- The header, as fields and as a table.
local function dissect_header(octets, tree)
    local is_v1 = csp.prefs.version == 1
    local len = is_v1 and 4 or 6
    local word = octets(0, len)
    local header = { len = len }
    if is_v1 then
        header.source, header.destination = word:bitfield(2, 5), word:bitfield(7, 5)
        header.destination_port, header.source_port = word:bitfield(12, 6), word:bitfield(18, 6)
        header.flags = word:bitfield(24, 8)
    else
        header.destination, header.source = word:bitfield(2, 14), word:bitfield(16, 14)
        header.destination_port, header.source_port = word:bitfield(30, 6), word:bitfield(36, 6)
        header.flags = word:bitfield(42, 6)
    end
    tree:add(f.priority, word, word:bitfield(0, 2))
    for _, name in ipairs({ "source", "destination" }) do
        tree:add(f[name], word, header[name])
        local port = header[name .. "_port"]
        local item = tree:add(f[name .. "_port"], word, port)
        if SERVICES[port] then item:append_text(" (" .. SERVICES[port] .. ")") end
    end
    local flags = tree:add(f.flags, octets(len - 1, 1), header.flags)
    for _, name in ipairs({ "is_crc32", "is_rdp", "is_xtea", "is_hmac", "is_frag" }) do
        flags:add(f[name], octets(len - 1, 1), header.flags)
    end
    return header
end

function csp.dissector(octets, pinfo, root)
    local least = csp.prefs.version == 1 and 4 or 6
    if octets:len() < least then return 0 end
    pinfo.cols.protocol = "CSP"
    local tree = root:add(csp, octets())
    local header = dissect_header(octets, tree)
    local function has(flag) return has_flag(header.flags, flag) end
    pinfo.cols.info = string.format("%d:%d -> %d:%d", header.source, header.source_port, header.destination,
        header.destination_port)
    local left = octets:len() - header.len
    -- Removes a trailer of so many octets; nil if there are fewer.
    local function trailer(len)
        if left < len then return nil end
        left = left - len
        return octets(header.len + left, len)
    end
    if has(0x04) and csp.prefs.version == 1 then
        if left > 0 then tree:add(f.data, octets(header.len, left)):append_text(" (encrypted)") end
        return octets:len()
    end
    local sum = has(0x01) and trailer(4)
    if sum then
        tree:add(f.crc32, sum)
        local status = 0
        if crc32c(octets(header.len, left):bytes()) == sum:uint() then
            status = 1
        elseif crc32c(octets(0, header.len + left):bytes()) == sum:uint() then
            status = 2
        end
        tree:add(f.crc32_status, sum, status)
    end
    local mac = has(0x08) and trailer(4)
    if mac then tree:add(f.hmac, mac) end
    local data = left > 0 and octets(header.len, left) or nil
    if has(0x02) and left >= 5 then data = dissect_rdp(data, pinfo, tree) end
    if has(0x10) and data and data:len() >= 8 then
        local here = tree:add(sfp, data(data:len() - 8))
        here:add(s.offset, data(data:len() - 8, 4))
        here:add(s.total, data(data:len() - 4, 4))
        data = data:len() > 8 and data(0, data:len() - 8) or nil
    end
    if not data then return octets:len() end
    if not dissect_dtp(data, has(0x02), header, pinfo, root) then
        tree:add(f.data, data)
    end
    return octets:len()
end

-- Frames of packets that are put together. What a frame completes is kept by its number, since Wireshark dissects
-- frames again in any order.
local unfinished, finished

function csp.init()
    unfinished, finished = {}, {}
end

-- Adds octets to a packet. Returns them all at its last frame.
local function assemble(pinfo, key, is_first, is_last, octets)
    if pinfo.visited then return finished[pinfo.number] end
    if is_first then unfinished[key] = ByteArray.new() end
    local whole = unfinished[key]
    if not whole then return nil end
    whole:append(octets)
    if not is_last(whole) then return nil end
    unfinished[key] = nil
    finished[pinfo.number] = whole
    return whole
end

local function dissect_whole(whole, pinfo, root)
    if whole then csp.dissector(whole:tvb("CSP packet"), pinfo, root) end
end

-- What the 29 bits of an identifier hold: a field, its lowest bit and how many there are.
local CFP1 = { { c.source, 24, 5 }, { c.destination, 19, 5 }, { c.is_more, 18, 1 }, { c.remaining, 10, 8 },
    { c.identifier, 0, 10 } }
local CFP2 = { { c.priority, 27, 2 }, { c.destination, 13, 14 }, { c.sender, 7, 6 }, { c.packet, 5, 2 },
    { c.frame, 2, 3 }, { c.is_begin, 1, 1 }, { c.is_end, 0, 1 } }

local function dissect_id(id, layout, tree)
    for _, it in ipairs(layout) do
        local value = extract(id, it[2], it[3])
        if it[3] == 1 then value = value == 1 end
        tree:add(it[1], value)
    end
end

local function dissect_cfp1(id, octets, pinfo, tree, root)
    dissect_id(id, CFP1, tree)
    local is_first, remaining = extract(id, 18, 1) == 0, extract(id, 10, 8)
    local data = octets:bytes()
    if is_first then
        if octets:len() < 6 then return end
        tree:add(c.length, octets(4, 2))
        data = octets(0, 4):bytes()
        if octets:len() > 6 then data:append(octets(6):bytes()) end
    end
    local key = "1." .. extract(id, 19, 10) .. "." .. extract(id, 0, 10)
    local function is_last() return remaining == 0 end
    dissect_whole(assemble(pinfo, key, is_first, is_last, data), pinfo, root)
end

local function dissect_cfp2(id, octets, pinfo, tree, root)
    dissect_id(id, CFP2, tree)
    local is_first, is_end = extract(id, 1, 1) == 1, extract(id, 0, 1) == 1
    local data = octets:bytes()
    if is_first then
        if octets:len() < 4 then return end
        -- The first 16 bits of the header are in the identifier, the others in the frame.
        data = ByteArray.new(string.format("%04X", extract(id, 13, 16)))
        data:append(octets:bytes())
    end
    local function is_last() return is_end end
    dissect_whole(assemble(pinfo, "2." .. extract(id, 5, 24), is_first, is_last, data), pinfo, root)
end

local can_id = Field.new("can.id")

function cfp.dissector(octets, pinfo, root)
    local id = can_id()
    if not id or octets:len() == 0 then return 0 end
    pinfo.cols.protocol = "CFP"
    local is_v1 = csp.prefs.version == 1
    local tree = root:add(cfp, octets(), is_v1 and "CFP version 1" or "CFP version 2")
    local dissect = is_v1 and dissect_cfp1 or dissect_cfp2
    dissect(extract(tonumber(tostring(id.value)), 0, 29), octets, pinfo, tree, root)
    return octets:len()
end

function efp.dissector(octets, pinfo, root)
    if octets:len() < 8 then return 0 end
    pinfo.cols.protocol = "CSP"
    local tree = root:add(efp, octets(0, 8))
    for place, field in ipairs({ e.packet, e.source, e.segment, e.length }) do
        tree:add(field, octets(2 * place - 2, 2))
    end
    local segment, total = octets(4, 2):uint(), octets(6, 2):uint()
    if octets:len() < 8 + segment or segment == 0 then return 8 end
    local key = "e." .. octets(0, 4):uint()
    local is_first = unfinished[key] == nil
    local function is_last(whole) return whole:len() >= total end
    dissect_whole(assemble(pinfo, key, is_first, is_last, octets(8, segment):bytes()), pinfo, root)
    return 8 + segment
end

DissectorTable.get("udp.port"):add(9600, csp)
DissectorTable.get("wtap_encap"):add(wtap.USER1, csp)
DissectorTable.get("ethertype"):add(0x88B5, efp)
DissectorTable.get("can.subdissector"):add_for_decode_as(cfp)
cfp:register_heuristic("can", function(octets, pinfo, root)
    return cfp.dissector(octets, pinfo, root) > 0
end)
