"""Wan-Animate-2: reads the driving video as it is, and a prompt about the reference."""

from dataclasses import replace

from animate.config.models.declared import DRIVEN, GenerationModel, Speed

# Settings of the stages that look for a person, and of what the first model makes of these.
UNREAD = frozenset(
    {
        *("pose_backend", "person", "smooth_pose", "draw", "line_width", "smooth_face"),
        *("retarget", "retarget_model", "retarget_steps", "retarget_guidance", "retarget_seed"),
        *("mask_backend", "sam2_checkpoint", "points", "mask_grid", "mask_steady"),
        *("mask_iterations", "mask_kernel", "mask_w_len", "mask_h_len"),
        *("pose_strength", "face_strength", "relighting_lora"),
    }
)
PROMPT_FORM = (
    "人物外观描述：LOOKS。背景描述：BACKGROUND。 with the looks of the reference's person (face,"
    " hair, clothes, what they hold) in place of LOOKS, and what is behind them in place of"
    " BACKGROUND, best in Chinese. The two headings say 'description of the person's looks' and"
    " 'description of the background'. For example:"
    " 人物外观描述：一位黑色短发的年轻女性，身穿红色连衣裙。背景描述：纯白色背景，光线均匀明亮。"
)
NEGATIVE_PROMPT = (
    "过曝，静态，细节模糊不清，字幕，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，三条腿"
)
# As its authors sample.
PRESET = {
    "fps": "24",
    "segment_frames": 81,
    "conditioning_frames": 1,
    "solver": "dpm++",
    "shift": 5.0,
    "steps": 40,
    "guidance_scale": 3.0,
    "negative_prompt": NEGATIVE_PROMPT,
}
WAN_ANIMATE_2 = GenerationModel(
    "wan-animate-2",
    kind=DRIVEN,
    modes=("animate",),
    unread=UNREAD,
    own_files=False,
    # With cuDNN 12.9 s a forward of 81 frames and 11.4 s for the pass over the driving segment.
    speed=Speed(attention=9.08, linear=2.8, first_pass=11.4 / 12.9),
    prompt_form=PROMPT_FORM,
    cleans_prompts=False,
    preset=PRESET,
)
DRIVEN_MODELS = (
    WAN_ANIMATE_2,
    # It was distilled with this number; without it the first frame takes over the others.
    replace(
        WAN_ANIMATE_2,
        name="wan-animate-2-distilled",
        log_scale=-1.3,
        preset=PRESET | {"steps": 10, "guidance_scale": 1.0},
    ),
    replace(
        WAN_ANIMATE_2,
        name="tiny-2",
        preset={},
        notice="The tiny model of Wan-Animate-2 has random weights: its videos are noise by"
        " design.",
    ),
)
