"""Layout of the page: Gradio's components, the editor, and their events."""

from typing import Any

import gradio as gr

from experiments.app.examples import thumbnails
from experiments.app.folder import KEPT
from experiments.app.handlers import Page
from lit_inpaint.windows import TILE

_TITLE = """
<h1>lit-inpaint</h1>
<p>Paint a hole into a photograph and see how several methods fill it. Nothing leaves this machine.</p>
"""
_EDITOR = """
<div class="bar" role="toolbar" aria-label="painting">
  <button type="button" data-tool="brush">brush</button><button type="button" data-tool="rectangle">rectangle</button>
  <button type="button" data-tool="eraser">eraser</button>
  <label>size <input class="size" type="range" min="2" max="120" value="24"></label>
  <span>on</span><button type="button" data-layer="hole">hole</button>
  <button type="button" data-layer="lines">guide lines</button>
  <button type="button" data-do="undo" title="Ctrl+Z">undo</button><button type="button" data-do="clear">clear</button>
  <span>zoom</span><button type="button" data-zoom="0.667" aria-label="zoom out" title="Ctrl and wheel">−</button>
  <button type="button" data-zoom="0" aria-label="whole picture">fit</button>
  <button type="button" data-zoom="1.5" aria-label="zoom in" title="Ctrl and wheel">+</button>
</div>
<div class="view" tabindex="0" role="group" aria-label="photograph to paint on">
<div class="stage"><canvas class="photo"></canvas><canvas class="hole"></canvas><canvas class="lines"></canvas></div>
</div>
"""
CSS = """
#title h1 { font-size: 1.5rem; font-weight: 700; margin: 0 }
#examples div:has(> button) { display: flex; flex-wrap: wrap; gap: 6px; align-items: center }
#examples { min-width: min(100%, 300px) !important }
#photo { align-items: center }
#photo > button { white-space: nowrap }
#gallery .fixed-height { min-height: 0; max-height: none }
#examples button { padding: 0; border: 2px solid #8888; border-radius: 6px; overflow: hidden; line-height: 0 }
#examples button:hover { border-color: #c2185b }
#editor .bar { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-bottom: 6px }
#editor .bar button { padding: 3px 9px; min-height: 30px; border: 1px solid #8888; border-radius: 5px }
#editor .bar button[aria-pressed=true] { background: #b3124f; color: white }
#editor .bar label { display: flex; gap: 6px; align-items: center }
#editor button:focus-visible, #editor .view:focus-visible, #examples button:focus-visible { outline: 3px solid #3b82f6 }
#editor .view { overflow: auto; max-height: 74vh; background: #8882; overscroll-behavior: contain }
#editor .stage { position: relative; min-height: 120px; margin: auto; touch-action: none; cursor: crosshair;
  width: calc(min(100%, 72vh * var(--shape, 9)) * var(--zoom, 1)) }
#editor .stage:not([data-loaded])::after { content: "or drop a photograph here"; position: absolute; inset: 0;
  display: grid; place-items: center }
#editor .stage canvas { position: absolute; inset: 0; width: 100%; height: 100% }
#editor .stage .hole { opacity: .6 }
@media (pointer: coarse) { #editor .bar button { min-height: 40px; min-width: 40px } }
.or { color: inherit !important }
input::placeholder { color: inherit !important }
"""
_ORANGE = dict.fromkeys(["background_fill", "background_fill_hover"], "#b93a05")
COLOURS = {  # Gradio's own have too little contrast for its white text and its blue links
    **{f"button_primary_{part}{dark}": colour for part, colour in _ORANGE.items() for dark in ("", "_dark")},
    "link_text_color": "*secondary_700",
    "link_text_color_dark": "*secondary_300",
}
_CHOOSE = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button) trigger('click', { number: Number(button.dataset.number) });
});"""
_READ = "(...given) => { given[1] = litEditor.read('hole'); given[2] = litEditor.read('lines'); return given; }"


def blocks(page: Page) -> gr.Blocks:
    """Every component, and which handler of ``page`` each event calls."""
    blocks = gr.Blocks(title="lit-inpaint", analytics_enabled=False, delete_cache=(3600, KEPT))
    with blocks:
        session, show = gr.State(None), gr.JSON(visible="hidden")
        drawn, lines = gr.Textbox(visible="hidden"), gr.Textbox(visible="hidden")
        gr.HTML(_TITLE, elem_id="title", padding=False)
        with gr.Row():
            with gr.Column(scale=3):
                with gr.Row(elem_id="photo"):
                    photo = gr.UploadButton("load a photograph", scale=0, min_width=210)
                    tries = gr.HTML(thumbnails(), elem_id="examples", js_on_load=_CHOOSE, apply_default_css=False)
                gr.HTML(_EDITOR, elem_id="editor", js_on_load="litEditor.bind();", apply_default_css=False)
                with gr.Accordion("mask files", open=False):
                    mask, white, alpha, take, mask_out = _mask_files()
            with gr.Column(scale=2):
                names = list(page.methods)
                chosen = gr.CheckboxGroup(names, value=names[:1], label="methods", elem_id="methods")
                prompt = gr.Textbox("", label="prompt: what the hole shows", max_lines=2, max_length=1000,
                    placeholder="as the method's settings say", visible=page.prompted, elem_id="prompt")  # fmt: skip
                with gr.Row():
                    seed = gr.Number(0, label="seed", precision=0, min_width=90)
                    samples = gr.Number(1, label="samples", precision=0, minimum=1, maximum=16, min_width=90)
                    tile = gr.Number(TILE, label="window, pixels", precision=0, minimum=0, min_width=90)
                with gr.Row():
                    go = gr.Button("complete", variant="primary", elem_id="go", min_width=90)
                    stop = gr.Button("cancel", elem_id="stop", min_width=90)
                status = gr.Textbox(
                    "Load a photograph or click an example.", label="progress", interactive=False, elem_id="status"
                )
                # Hidden, not absent: Gradio loses what it is told of a component that is still being made.
                gallery = gr.Gallery(label="completions", columns=2, object_fit="contain", height="auto",
                    interactive=False, visible="hidden", elem_id="gallery")  # fmt: skip
                with gr.Column():
                    with gr.Row():
                        # Gradio may still hold the choices of the last run when the first value of this one comes back.
                        late: dict[str, Any] = {"allow_custom_value": True, "min_width": 90, "visible": "hidden"}
                        left = gr.Dropdown([], label="left", **late)
                        right = gr.Dropdown([], label="right", **late)
                    slider = gr.ImageSlider(label="left and right", interactive=False, visible="hidden",
                        elem_id="slider")  # fmt: skip
                files = gr.File(label="download", file_count="multiple", interactive=False, visible="hidden",
                    elem_id="files")  # fmt: skip
        told: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        draw = "(given) => { litEditor.show(given); return []; }"
        loaded = [session, show, status]
        photo.upload(page.load, photo, loaded, **told).then(None, show, None, js=draw)
        tries.click(page.example, None, loaded, **told).then(None, show, None, js=draw)
        uploaded = [session, mask, white, alpha]
        for event in (mask.upload, white.input, alpha.input):
            event(page.load_mask, uploaded, [show, status], **told).then(None, show, None, js=draw)
        painted = [session, drawn, lines]
        take.click(page.mask_file, painted, [mask_out, status], js=_READ, **told)
        settings = [chosen, seed, samples, tile, prompt]
        out = [status, gallery, files, slider, left, right]
        go.click(page.run, [*painted, *settings], out, js=_READ, concurrency_limit=1, **told)
        stop.click(page.cancel, None, status, queue=False, **told)
        for menu in (left, right):
            menu.change(page.compare, [session, left, right], slider, **told)
    return blocks


def _mask_files() -> tuple[gr.UploadButton, gr.Radio, gr.Radio, gr.Button, gr.File]:
    with gr.Row(elem_id="mask"):
        mask = gr.UploadButton("load a mask of the photograph's size", size="sm")
        take = gr.Button("make mask file", size="sm")
    with gr.Row():
        white = gr.Radio(["hole", "known"], value="hole", label="white in the mask file is")
        sides = ["refused", "opaque", "transparent"]
        alpha = gr.Radio(sides, value="refused", label="of an alpha channel, the hole is")
    mask_out = gr.File(label="painted mask", interactive=False, visible="hidden", elem_id="mask_out")
    return mask, white, alpha, take, mask_out
