# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes a partition package that is a transfer list (Firmware Handoff, version 1): MANIFEST.dtb IMAGE OUT.

The manifest starts at 0x1000 and the image at 0x4000, as in the packages of sptool here.
"""
import struct
import sys

SIGNATURE, VERSION, HEADER, ALIGNMENT, HAS_CHECKSUM = 0x4A0FB10B, 1, 24, 12, 1
VOID, SP_BINARY, FFA_MANIFEST = 0, 0x103, 0x106
ENTRY_HEADER, MANIFEST, IMAGE = 8, 0x1000, 0x4000


def entry(tag, data):
    """Tag in 24 bits, length of the header, length of the data; then the data, up to a multiple of eight."""
    return struct.pack("<II", tag | ENTRY_HEADER << 24, len(data)) + data + bytes(-len(data) % 8)


def transfer_list(manifest, image):
    """The whole list: manifest, padding, image."""
    entries = b""
    for offset, tag, data in ((MANIFEST, FFA_MANIFEST, manifest), (IMAGE, SP_BINARY, image)):
        padding = offset - HEADER - len(entries) - 2 * ENTRY_HEADER
        if padding < 0:
            sys.exit("the manifest does not fit below the image")
        entries += entry(VOID, bytes(padding)) + entry(tag, data)
    size = HEADER + len(entries)
    whole = bytearray(struct.pack("<IBBBBIIII", SIGNATURE, 0, VERSION, HEADER, ALIGNMENT, size, size, HAS_CHECKSUM, 0) + entries)
    whole[4] = -sum(whole) % 256
    return whole


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as manifest, open(sys.argv[2], "rb") as image, open(sys.argv[3], "wb") as out:
        out.write(transfer_list(manifest.read(), image.read()))
