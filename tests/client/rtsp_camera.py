"""An RTSP camera that plays a film over and over: python rtsp_camera.py FILM PORT FPS."""

from __future__ import annotations

import subprocess
import sys
import time

import rtsp

CLOCK = 90_000  # RTP's ticks per second of video
UNIT = b"\0\0\0\1\x09"  # starts the data of each frame


def encoded_frames(film: str, fps: int) -> list[bytes]:
    """Encode a film as H.264, frame by frame."""
    command = ["ffmpeg", "-v", "error", "-i", film, "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-tune", "zerolatency", "-g", str(fps), "-bsf:v", "h264_metadata=aud=insert"]
    stream = subprocess.run([*command, "-f", "h264", "-"], capture_output=True, check=True).stdout
    return [UNIT + frame for frame in stream.split(UNIT)[1:]]


def main() -> None:
    film, port, fps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    frames = encoded_frames(film, fps)
    server = rtsp.Server(f"127.0.0.1:{port}")
    server.start()
    while True:
        for frame in frames:
            server.send_frame(frame, CLOCK // fps)
            time.sleep(1 / fps)


if __name__ == "__main__":
    main()
