"""Layout of the page: Gradio's components, the editor, and their events."""

from typing import Any

import gradio as gr

from experiments.app.folder import KEPT
from experiments.app.handlers import Page
from lit_inpaint.windows import TILE

_EDITOR = """
<div class="bar">
  <button type="button" data-tool="brush">brush</button><button type="button" data-tool="rectangle">rectangle</button>
  <button type="button" data-tool="eraser">eraser</button>
  <label>size <input class="size" type="range" min="2" max="120" value="24"></label>
  <span>on</span><button type="button" data-layer="hole">hole</button>
  <button type="button" data-layer="lines">guide lines</button>
  <button type="button" data-do="undo">undo</button><button type="button" data-do="clear">clear</button>
</div>
<div class="stage"><canvas class="photo"></canvas><canvas class="hole"></canvas><canvas class="lines"></canvas></div>
"""
CSS = """
#editor .bar { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-bottom: 6px }
#editor .bar button { padding: 3px 9px; border: 1px solid #8886; border-radius: 5px }
#editor .bar button[aria-pressed=true] { background: #ff3b6b; color: white }
#editor .stage { position: relative; width: 100%; min-height: 120px; background: #8882; touch-action: none;
  cursor: crosshair }
#editor .stage canvas { position: absolute; inset: 0; width: 100%; height: 100% }
#editor .stage .hole { opacity: .6 }
"""
_READ = "(...given) => { given[1] = litEditor.read('hole'); given[2] = litEditor.read('lines'); return given; }"


def blocks(page: Page) -> gr.Blocks:
    """Every component, and which handler of ``page`` each event calls."""
    blocks = gr.Blocks(title="lit-inpaint", analytics_enabled=False, delete_cache=(3600, KEPT))
    with blocks:
        session, show = gr.State(None), gr.JSON(visible=False)
        drawn, lines = gr.Textbox(visible=False), gr.Textbox(visible=False)
        with gr.Row():
            with gr.Column(scale=3):
                photo = gr.File(label="photograph", type="filepath", height=110, elem_id="photo")
                gr.HTML(_EDITOR, elem_id="editor")
                with gr.Row():
                    mask = gr.File(label="mask of its size", type="filepath", height=110, elem_id="mask")
                    white = gr.Radio(["hole", "known"], value="hole", label="white in the mask file is")
                    sides = ["refused", "opaque", "transparent"]
                    alpha = gr.Radio(sides, value="refused", label="of an alpha channel, the hole is")
                take = gr.Button("make mask file", size="sm")
                mask_out = gr.File(label="painted mask", interactive=False, visible=False, elem_id="mask_out")
            with gr.Column(scale=2):
                names = list(page.methods)
                chosen = gr.CheckboxGroup(names, value=names[:1], label="methods", elem_id="methods")
                with gr.Row():
                    seed = gr.Number(0, label="seed", precision=0, min_width=90)
                    samples = gr.Number(1, label="samples", precision=0, minimum=1, maximum=16, min_width=90)
                    tile = gr.Number(TILE, label="window, pixels", precision=0, minimum=0, min_width=90)
                with gr.Row():
                    go = gr.Button("complete", variant="primary", elem_id="go")
                    stop = gr.Button("cancel", elem_id="stop")
                status = gr.Textbox("Load a photograph.", label="what happens", interactive=False, elem_id="status")
                gallery = gr.Gallery(label="completions", columns=2, height=230, elem_id="gallery")
                with gr.Row():
                    left = gr.Dropdown([], label="left", min_width=90)
                    right = gr.Dropdown([], label="right", min_width=90)
                slider = gr.ImageSlider(label="left and right", interactive=False, elem_id="slider")
                files = gr.File(label="download", file_count="multiple", interactive=False, elem_id="files")
        told: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        draw = "(given) => { litEditor.show(given); return []; }"
        photo.change(page.load, photo, [session, show, status], **told).then(None, show, None, js=draw)
        uploaded = [session, mask, white, alpha]
        mask.change(page.load_mask, uploaded, [show, status], **told).then(None, show, None, js=draw)
        painted = [session, drawn, lines]
        take.click(page.mask_file, painted, [mask_out, status], js=_READ, **told)
        settings = [chosen, seed, samples, tile]
        out = [status, gallery, files, left, right]
        go.click(page.run, [*painted, *settings], out, js=_READ, concurrency_limit=1, **told)
        stop.click(page.cancel, None, status, queue=False, **told)
        for menu in (left, right):
            menu.change(page.compare, [session, left, right], slider, **told)
    return blocks
