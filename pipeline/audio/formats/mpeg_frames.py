"""Headers of MPEG audio frames (ISO 11172-3 and 13818-3), ADTS frames and ID3v2 tags."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MpegHeader", "adts_frame_bytes", "id3_bytes", "mpeg_header"]

# fmt: off
# By the version's group (MPEG 1; MPEG 2 and 2.5) and the layer, in kbit/s; 0 is "free".
_BITRATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# fmt: on
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


@dataclass(frozen=True)
class MpegHeader:
    """What the four bytes before a frame say.

    Parameters
    ----------
    layer
        1, 2 or 3.
    low_rate
        Whether it is MPEG 2 or 2.5.
    frame_bytes
        Length of the frame with its header.
    samples
        Per channel that it decodes to.
    """

    layer: int
    low_rate: bool
    sample_rate: int
    channels: int
    frame_bytes: int
    samples: int

    @property
    def side_bytes(self) -> int:
        """Length of a layer III frame's side information: a Xing tag comes after it."""
        if self.low_rate:
            return 9 if self.channels == 1 else 17
        return 17 if self.channels == 1 else 32

    def like(self, other: MpegHeader) -> bool:
        """Whether both frames can belong to one stream."""
        return (self.layer, self.sample_rate, self.channels) == (
            other.layer,
            other.sample_rate,
            other.channels,
        )


def mpeg_header(raw: bytes) -> MpegHeader | None:
    """Return what the first four bytes say, or None where they are no header of a frame."""
    if len(raw) < 4 or raw[0] != 0xFF or raw[1] & 0xE0 != 0xE0:
        return None
    version, layer = raw[1] >> 3 & 3, 4 - (raw[1] >> 1 & 3)
    bitrate, rate = raw[2] >> 4, raw[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3 or raw[3] & 3 == 2:
        return None
    low = version != 3
    bits_per_s = _BITRATES[2 if low else 1, layer][bitrate] * 1000
    sample_rate = _RATES_HZ[version][rate]
    padding = raw[2] >> 1 & 1
    samples = 384 if layer == 1 else 576 if low and layer == 3 else 1152
    if layer == 1:
        frame_bytes = (12 * bits_per_s // sample_rate + padding) * 4
    else:
        frame_bytes = samples // 8 * bits_per_s // sample_rate + padding
    channels = 1 if raw[3] >> 6 == 3 else 2
    return MpegHeader(layer, low, sample_rate, channels, frame_bytes, samples)


def adts_frame_bytes(raw: bytes) -> int:
    """Return the length of the AAC frame that begins here, or 0 where none does."""
    if len(raw) < 7 or raw[0] != 0xFF or raw[1] & 0xF6 != 0xF0 or raw[2] >> 2 & 15 > 12:
        return 0
    length = (raw[3] & 3) << 11 | raw[4] << 3 | raw[5] >> 5
    return length if length > 7 else 0


def id3_bytes(raw: bytes) -> int:
    """Return the length of the ID3v2 tag that begins here, or 0 where none does."""
    if len(raw) < 10 or raw[:3] != b"ID3" or max(raw[6:10]) > 127 or 255 in raw[3:5]:
        return 0
    size = raw[6] << 21 | raw[7] << 14 | raw[8] << 7 | raw[9]
    return size + (20 if raw[5] & 16 else 10)
