"""ImageNet at scale: Table 3, row by row, from one CPU to a cluster; and images on a larger canvas."""
