"""The finished file: the sampled pictures as they are, and the right seconds of the sound."""

from fractions import Fraction

import av
import numpy as np
import pytest

from animate.errors import ClipError
from animate.video.sound import Sound, choose_sound, mux_sound
from films import unknown, write_film

RATE = 48_000


def write_video(path, frames, frame_rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=frame_rate, options={"bf": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture = np.full((64, 64, 3), index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def write_sound(path, seconds, codec="pcm_s16le"):
    """A tone of 100 Hz in the first second, 200 Hz in the second, and so on."""
    times = np.arange(int(seconds * RATE)) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 100 * (1 + times.astype(int)) * times)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.layout = "mono"
        samples = (tone * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        frame.time_base = Fraction(1, RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def decode_sound(path):
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(blocks)


def pitch(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.dts is not None]


@pytest.fixture
def video(tmp_path):
    write_video(tmp_path / "video.mp4", 60, Fraction(30000, 1001))
    return tmp_path / "video.mp4"


def test_pictures_are_copied_bit_for_bit_and_time_stays_rational(video, tmp_path):
    write_sound(tmp_path / "sound.wav", 10)
    mux_sound(video, tmp_path / "sound.wav", 0, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4") == packets(video)
    with av.open(str(tmp_path / "out.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert picture.average_rate == Fraction(30000, 1001)
        assert picture.duration * picture.time_base == Fraction(60 * 1001, 30000)
        assert abs(sound.duration * sound.time_base - Fraction(60 * 1001, 30000)) < 0.03
        assert sound.codec_context.name == "aac"


def test_index_stands_before_the_pictures(video, tmp_path):
    mux_sound(video, None, 0, tmp_path / "out.mp4")
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(("start", "expected"), [(0, 100), (1, 200), (4, 500)])
def test_sound_is_trimmed_like_the_pictures(video, tmp_path, start, expected):
    write_sound(tmp_path / "sound.wav", 10)
    mux_sound(video, tmp_path / "sound.wav", start, tmp_path / "out.mp4")
    samples = decode_sound(tmp_path / "out.mp4")
    assert pitch(samples[RATE // 10 : RATE * 9 // 10]) == pytest.approx(expected, abs=3)


def test_short_sound_ends_in_silence(video, tmp_path):
    write_sound(tmp_path / "sound.wav", 1)
    mux_sound(video, tmp_path / "sound.wav", 0, tmp_path / "out.mp4")
    samples = decode_sound(tmp_path / "out.mp4")
    assert len(samples) / RATE == pytest.approx(60 * 1001 / 30000, abs=0.05)
    assert np.abs(samples[: RATE // 2]).max() > 0.3
    assert np.abs(samples[int(1.2 * RATE) :]).max() < 0.01


def test_sound_that_starts_late_starts_late(video, tmp_path):
    write_sound(tmp_path / "sound.wav", 3)
    mux_sound(video, tmp_path / "sound.wav", -0.5, tmp_path / "out.mp4")
    samples = decode_sound(tmp_path / "out.mp4")
    assert np.abs(samples[: int(0.4 * RATE)]).max() < 0.01
    assert np.abs(samples[int(0.6 * RATE) : RATE]).max() > 0.3


def test_without_sound_the_file_is_silent(video, tmp_path):
    mux_sound(video, video, 0, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
        assert len(packets(tmp_path / "out.mp4")) == 60


def test_broken_sound_is_silent_where_it_is_broken(video, tmp_path):
    write_sound(tmp_path / "sound.mp3", 3, codec="libmp3lame")
    content = bytearray((tmp_path / "sound.mp3").read_bytes())
    middle = len(content) // 2
    content[middle:] = np.random.default_rng(0).bytes(len(content) - middle)
    (tmp_path / "sound.mp3").write_bytes(content)
    lost = mux_sound(video, tmp_path / "sound.mp3", 0, tmp_path / "out.mp4")
    assert lost and lost[0] > 1
    samples = decode_sound(tmp_path / "out.mp4")
    assert len(samples) / RATE == pytest.approx(60 * 1001 / 30000, abs=0.05)
    assert np.abs(samples[: RATE // 2]).max() > 0.3


AAC = (48000, "stereo", "aac", 440), (44100, "mono", "aac", 880)


@pytest.mark.parametrize(("name", "default", "track"), [("a.mkv", 1, 2), ("a.mkv", 0, 1)])
def test_auto_takes_the_default_track(name, default, track, tmp_path):
    assert choose_sound(write_film(tmp_path / name, AAC, default), "auto") == Sound(track)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts", "a.avi"])
def test_tracks_are_counted_alike_in_every_container(name, video, tmp_path):
    film = write_film(tmp_path / name, AAC)
    assert choose_sound(film, "auto").track == 1
    for track, hertz in ((1, 440), (2, 880)):
        assert choose_sound(film, track) == Sound(track)
        assert mux_sound(video, film, 0, tmp_path / "out.mp4", track=track) == []
        samples = decode_sound(tmp_path / "out.mp4")[RATE // 4 : RATE]
        assert pitch(samples) == pytest.approx(hertz, abs=3)


def test_unknown_first_track_is_passed_over(tmp_path):
    film = unknown(write_film(tmp_path / "a.mp4", AAC), 1)
    chosen = choose_sound(film, "auto")
    assert chosen.track == 2 and "track 1" in chosen.note and "track 2 is taken" in chosen.note
    with pytest.raises(ClipError, match=r"sound 1: .*a\.mp4 cannot be decoded"):
        choose_sound(film, 1)


def test_sound_that_nobody_can_decode_is_silence(tmp_path):
    film = unknown(write_film(tmp_path / "a.mp4", AAC[:1]), 1)
    chosen = choose_sound(film, "auto")
    assert chosen.track is None and "the result is silent" in chosen.note


def test_none_and_a_number_without_a_track(video, tmp_path):
    film = write_film(tmp_path / "a.mp4", AAC)
    assert choose_sound(film, "none") == choose_sound(video, "auto") == Sound(None)
    with pytest.raises(ClipError, match=r"sound 3: .*a\.mp4 has 2 sound tracks"):
        choose_sound(film, 3)


@pytest.mark.parametrize("second", [(48000, "5.1"), (44100, "stereo"), (32000, "mono")])
def test_sound_that_changes_is_converted_throughout(second, tmp_path):
    parts = ((48000, "stereo", 440), (*second, 880))
    for number, (rate, layout, hertz) in enumerate(parts):
        write_film(tmp_path / f"{number}.ts", [(rate, layout, "ac3", hertz)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join((tmp_path / f"{n}.ts").read_bytes() for n in (0, 1)))
    write_video(tmp_path / "long.mp4", 96, 24)
    with av.open(str(joined)) as container:
        start = container.streams.video[0].start_time / 90_000
    mux_sound(tmp_path / "long.mp4", joined, start, tmp_path / "out.mp4")
    samples = decode_sound(tmp_path / "out.mp4")
    for begin, hertz in ((0.5, 440), (2.5, 880)):
        part = samples[int(begin * RATE) : int((begin + 1) * RATE)]
        assert pitch(part) == pytest.approx(hertz, abs=3)
