"""A picture of a pipeline: its outermost transforms as boxes, top to bottom, in SVG."""
import html
from dataclasses import dataclass
from dataclasses import field

from apache_beam.portability.api import beam_runner_api_pb2

MAX_BOXES = 300  # beyond, a picture says nothing
_BOX_WIDTH, _BOX_HEIGHT = 190, 34
_GAP_X, _GAP_Y = 24, 34
_LABEL_LENGTH = 26


@dataclass
class Box:
    """A transform in the picture, with the boxes that it reads from."""
    name: str
    inputs: list[str] = field(default_factory=list)
    row: int = 0
    column: int = 0

    @property
    def x(self) -> int:
        return self.column * (_BOX_WIDTH + _GAP_X)

    @property
    def y(self) -> int:
        return self.row * (_BOX_HEIGHT + _GAP_Y)


def boxes(pipeline: beam_runner_api_pb2.Pipeline) -> dict[str, Box]:
    """Returns the outermost transforms by id, placed."""
    transforms = pipeline.components.transforms
    outermost = list(pipeline.root_transform_ids)
    while len(outermost) == 1 and transforms[outermost[0]].subtransforms:
        outermost = list(transforms[outermost[0]].subtransforms)  # Python has one root around everything
    producer: dict[str, str] = {}
    for box_id in outermost:
        for pcollection in transforms[box_id].outputs.values():
            producer.setdefault(pcollection, box_id)
    out = {}
    for box_id in outermost:
        transform = transforms[box_id]
        sources = (producer.get(p) for p in transform.inputs.values())
        inputs = list(dict.fromkeys(s for s in sources if s is not None and s != box_id))
        out[box_id] = Box(transform.unique_name, inputs)
    _place(out)
    return out


def _place(out: dict[str, Box]) -> None:
    """Puts each box below all that it reads from. An SDK lists transforms in an order that allows that."""
    used: dict[int, int] = {}
    for box in out.values():
        box.row = max((out[i].row + 1 for i in box.inputs), default=0)
        box.column = used.get(box.row, 0)
        used[box.row] = box.column + 1


def svg(pipeline: beam_runner_api_pb2.Pipeline) -> str:
    """Draws a pipeline."""
    placed = boxes(pipeline)
    if not placed or len(placed) > MAX_BOXES:
        return f'<p>{len(placed)} transforms</p>'
    width = max(b.x for b in placed.values()) + _BOX_WIDTH + 2
    height = max(b.y for b in placed.values()) + _BOX_HEIGHT + 2
    lines = [_edge(placed[i], b) for b in placed.values() for i in b.inputs]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="-1 -1 {width} {height}" '
        'role="img" aria-label="pipeline" font-family="sans-serif" font-size="12">' + ''.join(lines) +
        ''.join(_box(b) for b in placed.values()) + '</svg>')


def _edge(source: Box, target: Box) -> str:
    x1, y1 = source.x + _BOX_WIDTH // 2, source.y + _BOX_HEIGHT
    x2, y2 = target.x + _BOX_WIDTH // 2, target.y
    middle = (y1 + y2) // 2
    return f'<path d="M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}" fill="none" stroke="#888"/>'


def _box(box: Box) -> str:
    label = box.name if len(box.name) <= _LABEL_LENGTH else box.name[:_LABEL_LENGTH - 1] + '…'
    return (
        f'<g><title>{html.escape(box.name)}</title>'
        f'<rect x="{box.x}" y="{box.y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="5" fill="#eef4fb" '
        f'stroke="#4a7db5"/><text x="{box.x + _BOX_WIDTH // 2}" y="{box.y + _BOX_HEIGHT // 2 + 4}" '
        f'text-anchor="middle" fill="#222">{html.escape(label)}</text></g>')
