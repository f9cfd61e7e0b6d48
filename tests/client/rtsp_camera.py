"""An RTSP camera that plays a film over and over: python rtsp_camera.py FILM PORT."""

from __future__ import annotations

import subprocess
import sys
import time

import rtsp

FPS = 10
CLOCK = 90_000  # RTP's ticks per second of video
UNIT = b"\0\0\0\1\x09"  # begins what belongs to one frame


def encoded_frames(film: str) -> list[bytes]:
    """Encode a film as H.264, frame by frame."""
    command = ["ffmpeg", "-v", "error", "-i", film, "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-tune", "zerolatency", "-g", str(FPS), "-bsf:v", "h264_metadata=aud=insert"]
    stream = subprocess.run([*command, "-f", "h264", "-"], capture_output=True, check=True).stdout
    return [UNIT + frame for frame in stream.split(UNIT)[1:]]


def main() -> None:
    film, port = sys.argv[1:]
    frames = encoded_frames(film)
    server = rtsp.Server(f"127.0.0.1:{port}")
    server.start()
    while True:
        for frame in frames:
            server.send_frame(frame, CLOCK // FPS)
            time.sleep(1 / FPS)


if __name__ == "__main__":
    main()
