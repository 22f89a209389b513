"""Which prepared copy of the transformer each clip waits for."""

import re

from animate.demo.clips import write_demo
from project import JOB, new_project


def test_each_clip_waits_for_the_copy_of_its_precision(tmp_path):
    project = new_project(tmp_path / "a project")
    write_demo(project.folder / "demo")
    quick = (project.folder / "quick.yaml").read_text()
    (project.folder / "quick.yaml").write_text(quick.replace("tiny", "wan2.2-animate-14b"))
    (project.folder / "style.safetensors").touch()
    clip = {"video": "../demo/driving.mp4", "reference": "../demo/character.png", "end": "0.2"}
    loras = "[{path: ../style.safetensors}]"
    kinds = {
        "plain": {"mode": "animate"},
        "fast": {"mode": "animate", "precision": "fp8"},
        "styled": {"mode": "animate", "precision": "fp8", "loras": loras},
        "relit": {"mode": "replace", "precision": "fp8"},
        "unlit": {"mode": "replace", "precision": "fp8", "relighting_lora": "false"},
    }
    project.write_table(*({"clip": name, **clip, **kind} for name, kind in kinds.items()))
    printed = project.snakemake("--dry-run").stdout
    jobs = [(rule, details) for _, rule, details in JOB.findall(printed)]
    copies = {}
    for rule, details in jobs:
        if rule == "sample":
            (name,) = re.findall(r"wildcards: clip=(\w+)", details)
            copies[name] = re.findall(r"\.prepared/wan2\.2-animate-14b(\S*)\.json", details)
    expected = {"plain": "", "fast": ".fp8", "styled": "", "relit": "", "unlit": ".fp8"}
    assert copies == {name: [copy] for name, copy in expected.items()}
    assert [rule for rule, _ in jobs].count("prepare") == 2
    project.write_table({"clip": "fast", **clip, **kinds["fast"]})
    assert project.pending_jobs()[""]["prepare"] == 1, "only what is asked for"
