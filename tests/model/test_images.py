"""Any picture that a person can view is read as the person sees it."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from model.images import Box, Image, ImageTooLarge, UndecodableImage, crop, decode, open_picture


def saved(picture: PillowImage.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_of_16_bits(image: Image) -> bytes:
    """Encode as a 16-bit PNG whose high bytes are the image."""
    return cv2.imencode(".png", image.astype(np.uint16) * 256)[1].tobytes()


def bare_png(width: int, height: int) -> bytes:
    """Make a black PNG of one bit per pixel, which compresses to almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = zlib.compress(bytes((width // 8 + 1) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def difference(a: Image, b: Image) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_jpeg_png_and_webp_give_the_same_rgb_picture(portrait: Image) -> None:
    picture = PillowImage.fromarray(portrait)
    assert difference(decode(saved(picture, "PNG")), portrait) == 0
    assert difference(decode(saved(picture, "WEBP", lossless=True)), portrait) == 0
    assert difference(decode(saved(picture, "JPEG", quality=95)), portrait) < 3


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_other_colour_models_are_read(portrait: Image, mode: str) -> None:
    picture = PillowImage.fromarray(portrait).convert(mode)
    image = decode(saved(picture, "JPEG" if mode == "CMYK" else "PNG"))
    assert (image.shape, image.dtype) == (portrait.shape, np.uint8)
    assert difference(image, np.asarray(picture.convert("RGB"))) < 4


def test_16_bits_a_channel_are_scaled_not_clipped(portrait: Image) -> None:
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    assert difference(decode(png_of_16_bits(grey)), np.stack([grey] * 3, axis=2)) < 1
    bgr = cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR)
    assert difference(decode(png_of_16_bits(np.asarray(bgr, np.uint8))), portrait) < 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(
    portrait: Image, file_format: str, orientation: int
) -> None:
    upright = PillowImage.fromarray(portrait[:, 40:400])
    transpose = PillowImage.Transpose
    how_a_camera_stores_it = {
        1: upright,
        2: upright.transpose(transpose.FLIP_LEFT_RIGHT),
        3: upright.rotate(180),
        4: upright.transpose(transpose.FLIP_TOP_BOTTOM),
        5: upright.rotate(-90, expand=True).transpose(transpose.FLIP_LEFT_RIGHT),
        6: upright.rotate(90, expand=True),
        7: upright.rotate(90, expand=True).transpose(transpose.FLIP_LEFT_RIGHT),
        8: upright.rotate(-90, expand=True),
    }[orientation]
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    image = decode(saved(how_a_camera_stores_it, file_format, exif=exif, quality=95))
    assert difference(image, np.asarray(upright)) < 3


def test_damaged_exif_is_no_reason_to_refuse(portrait: Image) -> None:
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff\1"
    data = saved(PillowImage.fromarray(portrait), "JPEG", exif=exif)
    assert decode(data).shape == portrait.shape


def test_a_huge_picture_is_refused_by_its_header() -> None:
    data = bare_png(20_000, 20_000)
    assert len(data) < 100_000
    with pytest.raises(ImageTooLarge, match="20000 x 20000"):
        decode(data)
    with pytest.raises(ImageTooLarge, match="20000 x 20000"):
        decode(data[:100])  # there are no pixels at all: only the header is read


def test_the_pixel_limit_is_the_callers(portrait_jpeg: bytes) -> None:
    assert decode(portrait_jpeg, max_pixels=512 * 512).shape == (512, 512, 3)
    with pytest.raises(ImageTooLarge):
        decode(portrait_jpeg, max_pixels=512 * 512 - 1)


def test_avifs_and_deep_pngs_count_twice_against_the_pixel_limit(portrait: Image) -> None:
    """They take twice the memory while they are decoded."""
    avif, deep = saved(PillowImage.fromarray(portrait), "AVIF"), png_of_16_bits(portrait)
    for data in (avif, deep):
        assert open_picture(data, max_pixels=2 * 512 * 512).weight == 2 * 512 * 512
        with pytest.raises(ImageTooLarge, match="megapixels of an AVIF or a 16-bit PNG"):
            open_picture(data, max_pixels=2 * 512 * 512 - 1)
    assert open_picture(saved(PillowImage.fromarray(portrait), "PNG")).weight == 512 * 512


@pytest.mark.parametrize(("width", "height"), [(70_000, 2), (2, 70_000)])
def test_a_side_too_long_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageTooLarge, match="65500 are accepted along a side"):
        decode(bare_png(width, height))


def test_exif_is_read_in_silence_and_of_the_first_directory(
    portrait: Image, recwarn: pytest.WarningsRecorder
) -> None:
    """Pillow reads all of it and warns for each entry, 5,000 lines in a service's log."""
    entries = [struct.pack(">HHII", 0x8000 + n, 7, 60_000, 8) for n in range(4_000)]
    entries.insert(0, struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0))
    head = b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", len(entries))
    exif = b"Exif\0\0" + head + b"".join(entries) + bytes(4)
    wide = PillowImage.fromarray(portrait[:300])
    for file_format in ("JPEG", "PNG", "WEBP"):
        assert decode(saved(wide, file_format, exif=exif)).shape == (512, 300, 3)
    assert not recwarn.list


@pytest.mark.parametrize("length", range(0, 60, 3))
def test_exif_cut_anywhere_is_no_reason_to_refuse(portrait: Image, length: int) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    cut = exif.tobytes()[:length].ljust(7, b"\0")
    data = saved(PillowImage.fromarray(portrait), "JPEG", exif=b"Exif\0\0" + cut)
    assert decode(data).shape == portrait.shape


def test_a_photo_with_a_second_one_behind_it_is_read(portrait: Image) -> None:
    """As phones write them: MPO, with a depth map or a video at the end."""
    first = PillowImage.fromarray(portrait)
    two = saved(first, "MPO", save_all=True, append_images=[first.convert("L")])
    assert b"MPF" in two
    film = np.random.default_rng(0).integers(0, 256, 2_000_000, np.uint8).tobytes()
    assert difference(decode(two + film), portrait) < 5


@pytest.mark.parametrize("kept", [0, 1, 10, 300, 0.5, 0.8])
def test_a_truncated_picture_is_undecodable(portrait_jpeg: bytes, kept: float) -> None:
    length = int(kept * len(portrait_jpeg)) if isinstance(kept, float) else kept
    with pytest.raises(UndecodableImage):
        decode(portrait_jpeg[:length])


CAMERAS: list[dict[str, object]] = [
    {},
    {"subsampling": "4:2:2"},  # as the ESP32-CAM sends
    {"subsampling": "4:4:4"},
    {"restart_marker_rows": 1},
]


@pytest.mark.parametrize("options", CAMERAS)
@pytest.mark.parametrize("missing", [1, 2, 5, 40])
def test_a_jpeg_without_its_last_bytes_is_read(
    portrait: Image, options: dict[str, object], missing: int
) -> None:
    """Many cameras send no end, or cut off the last blocks."""
    small = PillowImage.fromarray(portrait[:480, :480]).resize((320, 240))
    whole = saved(small, "JPEG", **options)
    image = decode(whole[:-missing])
    assert difference(image, decode(whole)) < 2
    assert np.array_equal(image[:220], decode(whole)[:220])


def test_a_grey_jpeg_without_its_end_is_read(portrait: Image) -> None:
    whole = saved(PillowImage.fromarray(portrait).convert("L"), "JPEG")
    assert np.array_equal(decode(whole[:-2]), decode(whole))


@pytest.mark.parametrize("options", CAMERAS)
def test_nine_tenths_of_the_rows_must_be_there(options: dict[str, object]) -> None:
    """In noise every row takes as many bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    whole = saved(PillowImage.fromarray(noise), "JPEG", **options)
    image = decode(whole[: len(whole) * 95 // 100])
    assert np.array_equal(image[:432], decode(whole)[:432])
    assert (image[470:] == 128).all()
    with pytest.raises(UndecodableImage, match=r"8[4-7]% of its rows .* Send the whole file"):
        decode(whole[: len(whole) * 85 // 100])


def test_a_large_jpeg_without_its_end_is_read_shrunk_too(portrait: Image) -> None:
    whole = saved(PillowImage.fromarray(portrait).resize((2048, 2048)), "JPEG")
    image = open_picture(whole[:-2]).decode(1000).image
    assert np.array_equal(image, open_picture(whole).decode(1000).image)
    with pytest.raises(UndecodableImage, match="Send the whole file"):
        open_picture(whole[: len(whole) // 2]).decode(1000)


def test_a_progressive_jpeg_may_lack_the_end_of_its_last_scan(portrait: Image) -> None:
    """It adds one bit to the values of all rows. Cut earlier, the rows are there, but blurred."""
    whole = saved(PillowImage.fromarray(portrait), "JPEG", progressive=True)
    assert np.array_equal(decode(whole[:-2]), decode(whole))
    for length in (len(whole) - 10, len(whole) * 9 // 10):
        cut = decode(whole[:length]).astype(int)
        assert np.abs(cut - decode(whole)).mean() < 2
    for length in (len(whole) // 2, len(whole) // 5):
        with pytest.raises(UndecodableImage):
            decode(whole[:length])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_png_of_a_sensors_bits_is_as_bright_as_it_was_taken(portrait: Image, bits: int) -> None:
    """Industrial and thermal cameras write 10 to 14 bits into 16, which looks black."""
    deep = portrait.astype(np.uint16) << (bits - 8)
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    alpha = np.dstack([deep[..., ::-1], np.full((512, 512), 65535, np.uint16)])
    deep_grey = grey.astype(np.uint16) << (bits - 8)
    for pixels, expected in (
        (deep[..., ::-1], portrait),
        (alpha, portrait),
        (deep_grey, np.dstack([grey] * 3)),
    ):
        data = cv2.imencode(".png", pixels)[1].tobytes()
        assert difference(decode(data), np.asarray(expected)) < 1


def test_a_16_bit_png_in_the_dark_stays_black() -> None:
    black = cv2.imencode(".png", np.zeros((20, 30), np.uint16))[1].tobytes()
    assert not decode(black).any()
    with pytest.raises(UndecodableImage):
        decode(black[:-20])


@pytest.mark.parametrize("data", [b"hello", b"\xff\xd8\xff", b"GIF89a" + bytes(50), bytes(1000)])
def test_what_is_no_picture_is_undecodable(data: bytes) -> None:
    with pytest.raises(UndecodableImage):
        decode(data)


def test_a_crop_keeps_the_faces_proportions() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (150, 100), 30, (255, 255, 255), -1)
    face = crop(image, Box(130, 70, 40, 60), margin=0.5, size=120)  # the square is 120 wide
    assert face.shape == (120, 120, 3)
    ys, xs = np.nonzero(face[..., 0] > 128)
    assert abs((xs.max() - xs.min()) - (ys.max() - ys.min())) <= 1
    assert abs(xs.mean() - 60) <= 1
    assert abs(ys.mean() - 60) <= 1


def test_a_crop_at_the_edge_repeats_the_edge() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 0] = (200, 10, 30)
    face = crop(image, Box(0, 40, 20, 20), margin=0.5, size=40)
    assert (face[:, :10] == (200, 10, 30)).all()
    assert (face[:, 12:] == 0).all()


def test_a_crop_of_a_very_large_face_is_the_same_at_any_size() -> None:
    small = np.random.default_rng(0).integers(0, 256, (6, 40, 3), np.uint8)
    large = np.repeat(np.repeat(small, 100, axis=0), 100, axis=1)
    for x, width in ((0, 40), (3, 30)):
        expected = crop(small, Box(x, 0, width, 6), 0.1, 20)
        face = crop(large, Box(100 * x, 0, 100 * width, 600), 0.1, 20)
        assert face.shape == (20, 20, 3)
        assert difference(face, expected) < 12


def test_an_empty_box_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        crop(np.zeros((10, 10, 3), np.uint8), Box(3, 3, 0, 5), 0.1, 224)


def test_boxes_are_clipped_to_the_image() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    assert Box.within(image, -10, -5.4, 250, 50.6) == Box(0, 0, 200, 51)
    assert Box.within(image, 300, 300, 400, 400).short_side == 0


def test_a_jpeg_with_bytes_too_many_is_read_as_many_cameras_send_it(portrait_jpeg: bytes) -> None:
    spoilt = portrait_jpeg[:-2] + b"\0\0\0" + portrait_jpeg[-2:] + b"trailing"
    assert difference(decode(spoilt), decode(portrait_jpeg)) < 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_may_be_read_shrunk(portrait: Image, orientation: int) -> None:
    large = cv2.resize(portrait[:384], (2048, 1536))
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    frame = open_picture(saved(PillowImage.fromarray(large), "JPEG", exif=exif)).decode(1000)
    assert frame.size == ((1536, 2048) if orientation == 6 else (2048, 1536))
    assert 1000 <= max(frame.image.shape[:2]) < 1100
    assert frame.scale == pytest.approx(2048 / max(frame.image.shape[:2]))
    turned = np.rot90(large, -1) if orientation == 6 else large
    size = (frame.image.shape[1], frame.image.shape[0])
    assert difference(frame.image, np.asarray(cv2.resize(turned, size))) < 4
    for least in (1100, 5000):  # at three quarters, decoding takes longer than at full size
        whole = open_picture(saved(PillowImage.fromarray(large), "JPEG")).decode(least)
        assert whole.image.shape == large.shape


@pytest.mark.parametrize("roll", [40.0, 90.0, 180.0, -120.0])
def test_the_crop_of_a_turned_face_is_upright(
    portrait: Image, portrait_box: Box, roll: float
) -> None:
    middle = (
        portrait_box.x + (portrait_box.width - 1) / 2,
        portrait_box.y + (portrait_box.height - 1) / 2,
    )
    around = cv2.getRotationMatrix2D(middle, -roll, 1.0)  # OpenCV turns anticlockwise
    turned = np.asarray(cv2.warpAffine(portrait, around, (512, 512)), np.uint8)
    upright = crop(portrait, portrait_box, 0.1, 96).astype(int)
    levelled = crop(turned, portrait_box, 0.1, 96, roll).astype(int)
    as_it_lies = crop(turned, portrait_box, 0.1, 96).astype(int)
    assert np.abs(levelled - upright).mean() < 10  # hair, half a pixel apart
    assert np.abs(as_it_lies - upright).mean() > 30
