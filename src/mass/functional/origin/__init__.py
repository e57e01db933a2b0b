"""Where to start sampling: an origin, read off the features themselves (paper, section 4.1).

- `select`: which polyphase component; one origin for each image, or weights for several (`blend`). `depth`: of a volume.
- `position_hash` and `position_rank`: what a map looks like from each of its positions, which breaks ties; `symmetrise`
  averages where an input is its own shift. `seam`: the rule that finds where an image was cut.
"""
