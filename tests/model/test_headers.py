"""A picture's metadata is limited and removed before a decoder sees it."""

import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image as PillowImage

from bench.hardening.bombs import (
    animated_webp,
    behind_start,
    chunk,
    frame_header,
    many_scans,
    png,
    refined,
    resized,
    riff,
    riff_chunk,
    segment,
    small,
    with_chunks,
    zeros,
)
from model.headers import MOST_CHUNKS, MOST_ENTRIES, TooCostly, TooManyPixels, bare, orientation
from model.images import Image, ImageTooLarge, UndecodableImage, decode

SIDEWAYS = b"MM\0\x2a\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
GREY = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)


def saved(images: list[Image], file_format: str, **options: object) -> bytes:
    """Encode pictures; several make an animation."""
    buffer = io.BytesIO()
    first, *others = (PillowImage.fromarray(image) for image in images)
    first.save(buffer, file_format, save_all=True, append_images=others, **options)
    return buffer.getvalue()


def small_cmyk() -> bytes:
    buffer = io.BytesIO()
    PillowImage.new("CMYK", (32, 32)).save(buffer, "JPEG")
    return buffer.getvalue()


def colours(count: int) -> list[Image]:
    return [np.full((32, 32, 3), 40 * number, np.uint8) for number in range(1, count + 1)]


def test_a_run_of_ff_bytes_is_passed_at_once() -> None:
    """This took 1.2 s for 20 kB and grew with the square: 10 MB would have taken days."""
    with pytest.raises(UndecodableImage):
        decode(b"\xff\xd8" + b"\xff" * 10_000_000 + b"\0")
    jpeg = small()
    scan = jpeg.index(b"\xff\xda")
    padded = jpeg[:scan] + b"\xff" * 1000 + jpeg[scan:]
    assert np.array_equal(decode(padded), decode(jpeg))


def test_what_a_jpegs_pixels_do_not_need_is_dropped() -> None:
    jpeg = small()
    metadata = b"".join(segment(0xE1 + n % 13, bytes(1000)) for n in range(100))
    bare_jpeg, exif = bare(
        behind_start(jpeg, segment(0xE1, b"Exif\0\0" + SIDEWAYS) + metadata) + bytes(10_000)
    )
    assert len(bare_jpeg) <= len(jpeg)
    assert orientation(exif) == 6
    assert np.array_equal(decode(bare_jpeg), decode(jpeg))


def test_dropping_a_segment_uncovers_no_scan() -> None:
    """If the comment between them were removed, 0xFF and 0xDA would start an uncounted scan."""
    hidden = b"\xff" + segment(0xFE, b"") + segment(0xDA, bytes([1, 1, 0, 1, 63, 0]))[1:]
    jpeg = small(progressive=True)
    once, _ = bare(jpeg[:-2] + hidden * 400 + b"\xff\xd9")
    assert once.count(b"\xff\xda") == jpeg.count(b"\xff\xda")
    assert bare(once)[0] == once


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (behind_start(small(), segment(0xFE, b"") * 1001), "1000 segments"),
        (many_scans(64, 64, 64), "64 scans"),
        (behind_start(small(), segment(0xDB, bytes(60_000)) * 2), "65536 bytes of tables"),
    ],
    ids=["segments", "scans", "tables"],
)
def test_a_jpeg_that_costs_more_than_a_photo_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(UndecodableImage, match=f"over {what}.*Save it as a baseline JPEG"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [refined(7000, 7000, 3, 12), resized(many_scans(64, 64, 15), 7000, 7000)],
    ids=["components", "passes"],
)
def test_a_jpeg_of_too_many_passes_over_too_many_pixels_is_refused(data: bytes) -> None:
    with pytest.raises(ImageTooLarge, match=r"7000 x 7000 .*11 million blocks.*a baseline JPEG"):
        decode(data)


def test_components_of_one_name_count_as_the_largest() -> None:
    """Decoders alternate between the tables; the last one here has a sixteenth of the blocks."""
    jpeg = refined(7000, 7000, 3, 42)
    same = jpeg.replace(bytes([1, 0x11, 0, 2, 0x11, 0]), bytes([1, 0x44, 0, 1, 0x11, 0]))
    assert same != jpeg
    with pytest.raises(TooManyPixels):
        bare(same)


def test_a_jpeg_with_10_mb_of_metadata_is_taken() -> None:
    comments = segment(0xFE, bytes(65_000)) * 77 + segment(0xE2, bytes(65_000)) * 77
    assert decode(behind_start(small(), comments)).shape == (32, 32, 3)


@pytest.mark.parametrize("kind", [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
def test_jpegs_of_rare_kinds_are_refused(kind: int) -> None:
    """With arithmetic coding, a few bytes can take a decoder billions of steps."""
    with pytest.raises(UndecodableImage, match=r"arithmetic-coded.*Save it as a baseline JPEG"):
        decode(small().replace(b"\xff\xc0", bytes([0xFF, kind])))


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_progressive_jpeg_of_50_megapixels_is_taken(subsampling: int) -> None:
    buffer = io.BytesIO()
    picture = PillowImage.new("RGB", (64, 64))
    picture.save(buffer, "JPEG", progressive=True, subsampling=subsampling)
    data = resized(buffer.getvalue(), 8160, 6120)
    assert bare(data)[0].count(b"\xff\xda") == 10


def test_a_damaged_frame_header_is_the_decoders_to_judge() -> None:
    for header in (segment(0xC0, b""), segment(0xC0, bytes(6)), frame_header(0xC0, 0, 0)):
        data = b"\xff\xd8" + header + small()[2:]
        assert header in bare(data)[0]
        with pytest.raises(UndecodableImage):
            decode(data)


def test_a_png_keeps_pixels_palette_and_orientation_alone() -> None:
    grey = saved([GREY], "PNG")
    texts = [chunk(name, b"x\0\0" + zeros(1_000_000)) for name in (b"iCCP", b"zTXt", b"iTXt")]
    metadata = [*texts * 100, chunk(b"eXIf", SIDEWAYS), chunk(b"prVt", bytes(1000))]
    data = with_chunks(*metadata)
    bare_png, exif = bare(data[:-12] + b"".join(metadata) + data[-12:] + bytes(1000))
    assert bare_png == bare(grey)[0]
    assert exif == SIDEWAYS
    assert np.array_equal(decode(data)[..., 0], np.rot90(GREY, -1))
    palette = PillowImage.fromarray(np.dstack([GREY] * 3)).quantize(16)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert np.array_equal(decode(buffer.getvalue()), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_later_pictures_of_an_animation_reach_no_decoder(file_format: str) -> None:
    images = colours(5)
    data = saved(images, file_format, lossless=True)
    assert np.array_equal(decode(data), images[0])
    first = bare(data)[0]
    assert PillowImage.open(io.BytesIO(data)).n_frames == 5  # type: ignore[attr-defined]
    assert getattr(PillowImage.open(io.BytesIO(first)), "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (with_chunks(chunk(b"tEXt", b"x\0") * MOST_CHUNKS), "PNG"),
        (with_chunks(chunk(b"IDAT", b"") * MOST_CHUNKS), "PNG"),
        (animated_webp(32, 32, MOST_CHUNKS), "WebP"),
    ],
    ids=["texts", "pixels", "pictures"],
)
def test_a_picture_in_too_many_chunks_is_refused(data: bytes, kind: str) -> None:
    with pytest.raises(UndecodableImage, match=f"The {kind} has over 20000 chunks"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        png(4_500, 4_500, 8, 0, b""),
        png(4_500, 4_500, 8, 2, b""),
        png(2_800, 2_800, 16, 6, b""),
        png(3_900, 3_900, 8, 6, b""),
        resized(small_cmyk(), 3_900, 3_900),
        animated_webp(3_900, 3_900),
        riff(riff_chunk(b"VP8L", b"\x2f" + struct.pack("<I", 3899 | 3899 << 14) + bytes(9))),
        riff(riff_chunk(b"VP8 ", bytes(3) + b"\x9d\1\x2a" + struct.pack("<HH", 4500, 4500))),
    ],
    ids=[
        "PNG grey",
        "PNG RGB",
        "PNG 64 bits",
        "PNG RGBA",
        "CMYK JPEG",
        "animation",
        "lossless WebP",
        "WebP",
    ],
)
def test_pictures_that_cannot_be_read_shrunk_are_bounded_by_their_bytes(data: bytes) -> None:
    with pytest.raises(TooManyPixels):
        bare(data)
    with pytest.raises(
        ImageTooLarge,
        match=r"MB unpacked.*may have at most 60 MB and 18 megapixels.*or an RGB JPEG",
    ):
        decode(data)


def test_the_first_header_of_a_png_counts() -> None:
    """Pillow uses the last one, so it would decode another size than the one checked."""
    data = with_chunks(png(60_000, 60_000, 8, 6, b"")[8:33])
    assert decode(data).shape == (32, 32, 3)


def test_a_webp_keeps_its_picture_and_orientation_alone() -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    rgba = np.dstack([GREY] * 4)
    profile = bytes(100_000)
    data = saved([rgba], "WEBP", exif=exif, icc_profile=profile, xmp=profile, quality=90)
    bare_webp, found = bare(data)
    assert len(bare_webp) < 2000
    assert b"ALPH" in data
    assert b"ALPH" not in bare_webp
    assert orientation(found) == 6
    assert decode(data).shape == (32, 32, 3)


def test_a_webp_without_a_picture_is_refused() -> None:
    with pytest.raises(TooCostly, match="contains no picture"):
        bare(riff(riff_chunk(b"VP8X", bytes(10)) + riff_chunk(b"EXIF", SIDEWAYS)))


@pytest.mark.parametrize(
    "data",
    [small(), small("PNG"), small("WEBP"), animated_webp(32, 32), small("AVIF")],
    ids=["JPEG", "PNG", "WebP", "animation", "AVIF"],
)
def test_a_picture_cut_anywhere_or_twice_bare_stays_a_picture_or_is_refused(data: bytes) -> None:
    once, _ = bare(data)
    assert bare(once) == (once, b"")
    for length in range(len(data)):
        with suppress(UndecodableImage):
            assert decode(data[:length]).shape == (32, 32, 3)


def avif(width: int = 32, height: int = 32, **options: object) -> bytes:
    buffer = io.BytesIO()
    PillowImage.new("RGB", (width, height), (200, 30, 90)).save(buffer, "AVIF", **options)
    return buffer.getvalue()


def test_an_avif_keeps_its_picture_and_orientation_alone() -> None:
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera" * 1000
    rgba = PillowImage.fromarray(np.dstack([GREY] * 4))
    buffer = io.BytesIO()
    rgba.save(buffer, "AVIF", exif=exif, xmp=bytes(100_000), icc_profile=bytes(5000))
    data = buffer.getvalue()
    bare_avif, found = bare(data)
    assert len(data) > 100_000
    assert len(bare_avif) < 3000
    assert orientation(found) == 6
    assert bare(bare_avif)[0] == bare_avif
    opened = PillowImage.open(io.BytesIO(bare_avif))
    assert (opened.mode, opened.size) == ("RGB", (32, 32))
    assert decode(data).shape == (32, 32, 3)


@pytest.mark.parametrize("subsampling", ["4:0:0", "4:2:0", "4:2:2", "4:4:4"])
def test_an_avif_is_as_large_as_its_coded_picture_says(subsampling: str) -> None:
    """What the boxes around it say, which costs nothing to forge, does not count."""
    for width, height in ((33, 7), (640, 480), (1, 1)):
        data = avif(width, height, subsampling=subsampling)
        forged = data.replace(
            b"ispe" + bytes(4) + struct.pack(">II", width, height),
            b"ispe" + bytes(4) + struct.pack(">II", 9, 9),
        )
        assert forged != data
        assert decode(forged).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("width", "height", "subsampling"), [(4_500, 4_500, "4:2:0"), (18_000, 1_001, "4:0:0")]
)
def test_an_avif_of_too_many_pixels_is_refused_by_its_header(
    width: int, height: int, subsampling: str
) -> None:
    """The size is written into the header of a small one, so that nothing large is encoded."""
    data = avif(subsampling=subsampling)
    coded = data.index(b"\x0a", data.index(b"mdat"))
    sequence = f"{data[coded + 2] >> 3:05b}" + "0" * 5 + "1111" * 2
    sequence = sequence[:10] + "11111111" + f"{width - 1:016b}{height - 1:016b}"
    rest = "0" * (8 * data[coded + 1] + 64)
    packed = int((sequence + rest)[: 8 * data[coded + 1]], 2).to_bytes(data[coded + 1], "big")
    forged = data[: coded + 2] + packed + data[coded + 2 + len(packed) :]
    with pytest.raises(ImageTooLarge, match=rf"{width} x {height} .*an AVIF may have"):
        decode(forged)


def test_an_avif_of_several_pictures_is_refused() -> None:
    film = saved(colours(3), "AVIF")
    with pytest.raises(UndecodableImage, match=r"not coded as one still picture.*Save it as JPEG"):
        decode(film)
    single = avif()
    at = single.index(b"mdat") + 4
    twice = single + single[at:]  # one more picture behind the first, in the same item
    twice = twice.replace(struct.pack(">I", len(single) - at), struct.pack(">I", len(twice) - at))
    with pytest.raises(UndecodableImage, match="not coded as one still picture"):
        decode(twice)


def test_an_avif_in_pieces_or_of_endless_boxes_is_refused() -> None:
    data = avif()
    at = data.index(b"iloc")
    extents = data[: at + 16] + b"\0\2" + data[at + 18 :]
    with pytest.raises(UndecodableImage, match="not in one piece"):
        decode(extents)
    with pytest.raises(UndecodableImage, match="over 1000 boxes"):
        decode(data[:32] + struct.pack(">I4s", 8, b"free") * 1001 + data[32:])


def test_exif_data_of_endless_entries_are_not_read_to_their_end() -> None:
    start = b"MM\0\x2a\0\0\0\x08\xff\xff"
    found = SIDEWAYS[10:22]
    assert orientation(start + bytes(12 * (MOST_ENTRIES - 1)) + found) == 6
    assert orientation(start + bytes(12 * MOST_ENTRIES) + found) == 1


def test_a_jpeg_with_bytes_too_many_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second decoder, tried after the first refused the end, took as long again."""
    monkeypatch.setattr("model.images.pixels", lambda _: pytest.fail("it was decoded twice"))
    jpeg = small()
    assert np.array_equal(decode(jpeg[:-2] + b"\xff\xd1\1\2\3" + jpeg[-2:]), decode(jpeg))
