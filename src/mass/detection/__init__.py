"""Detection on the torus: torchvision's detectors, with the same weights, whose boxes move along with the image.

    detector = mass.convert(torchvision_detector, images)    # RetinaNet, FCOS, SSD, SSDLite, Faster, Mask, Keypoint R-CNN
    found = detector(images)                                 # as before: a list of dicts of boxes, labels, scores, …
    mass.certify(detector, images)                           # sets compared bit by bit under circular shifts

The dense part, backbone and heads, is converted as any network is. Its maps are shifted to one
canonical position, read off the image; there anchors are laid, boxes decoded, suppressed, pooled and pasted, on a torus: the
image's sides meet. At the end boxes are shifted back by whole pixels.

On boxes that wrap (x1, y1, x2, y2, first corner in the image, second may lie beyond it; size is (height, width)):

    wrap(boxes, size)                              as they are given on the torus, on the image's grid of 2^-k pixels
    snap(boxes, size)                              on that grid alone
    shift_boxes(boxes, shift, size)                where they lie in `mass.shift(image, shift)`
    split_at_seam(boxes, size)                     plain boxes inside the image, and which box each is a piece of
    nearest(boxes, to, size)                       their copies nearest to other boxes
    box_iou(a, b, size)                            (N, M)
    nms(boxes, scores, iou_threshold, size, labels=None)      indices kept, ties broken by content
    roi_align(features, boxes, output_size, size)  windows that read around the border (needs torchvision)
    shift_detections(detections, shift, size)      dicts of boxes, labels, scores, masks, keypoints
    same_detections(a, b, shift, size)             whether b is the set a moved along, bit by bit
    first_difference(a, b, shift, size)            the first box that is not, in words
"""

from mass.detection.boxes import box_iou, nearest, shift_boxes, snap, split_at_seam, wrap
from mass.detection.detections import first_difference, same_detections, shift_detections
from mass.detection.detectors.certifying import DetectionCertificate, certify
from mass.detection.detectors.converting import convert, is_detector
from mass.detection.detectors.explaining import explain
from mass.detection.pooling import roi_align
from mass.detection.suppression import nms
from mass.families import FAMILIES, Family

__all__ = [
    "DetectionCertificate",
    "box_iou",
    "convert",
    "first_difference",
    "is_detector",
    "nearest",
    "nms",
    "roi_align",
    "same_detections",
    "shift_boxes",
    "shift_detections",
    "snap",
    "split_at_seam",
    "wrap",
]

FAMILIES.append(Family("a detector", is_detector, convert, explain, certify))
