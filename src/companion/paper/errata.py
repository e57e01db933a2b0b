"""Errata of the paper, kindly meant: where, what it says, what it seems to mean, and what this companion does.

None of them touches the idea. Most are slips of the pen; those marked `matters` change how a reader would
implement or quote the paper.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Erratum:
    """One place. The quote is verbatim; formulas are LaTeX."""

    where: str
    quote: str
    remark: str
    here: str
    matters: bool = False


NUMBERS = (
    Erratum(
        "5.1.1, Results",
        "our method improves 2.06% and 2.95%, respectively",
        "These are the gains of MASS-DDAC-3 over a baseline without a filter. Those of MASS itself are 1.56 and 3.09; and "
        "they are percentage points.",
        "Table 2 above computes them.",
        True,
    ),
    Erratum(
        "5.1.1, Results",
        "architectures consistently outperforms all other methods, including baseline and APS",
        "Each MASS row is above the APS row with the same filter. It is not above all other rows: for ResNet-20, LPF-3, APS-LPF-3 "
        "and APS-DDAC-3 are above MASS, and APS-DDAC-3 is above MASS-LPF-3.",
        "Rows are compared filter by filter.",
        True,
    ),
    Erratum(
        "5.1.1, Results",
        "MASS-DDAC-3, which applies MASS with a content-aware filter of size 3, demonstrates the best performance",
        "True of ResNet-20. For ResNet-18 it is plain MASS (94.94 against 94.80), and both filters lower it.",
        "Networks are compared one by one.",
        True,
    ),
    Erratum(
        "Table 2",
        "91.20 ± 0.32%",
        "Stands in two cells: consistency of the ResNet-18 baseline and of ResNet-20 with LPF-3. At least one is a slip.",
        "Both cells carry a question mark and no verdict.",
        True,
    ),
    Erratum(
        "Table 2, caption",
        "Image classification on CIFAR-10 test set. Test accuracy and consistency on CIFAR-10 validation set.",
        "One of the two; CIFAR-10 comes with a test set only.",
        "The test set.",
    ),
    Erratum(
        "5.1.2, Fine-tuning",
        "a Top-1 accuracy of 69.22%",
        "With a loss of 0.56 the original would be at 69.78; torchvision publishes 69.758, a loss of 0.538.",
        "The loss is taken against torchvision's number.",
    ),
    Erratum(
        "5.2",
        r"randomly selected from the interval $\{0,1,...,512\}$",
        "These are 513 values. On an image of 512 pixels 0 and 512 are one shift, which is drawn twice as often.",
        r"$\{0, …, 511\}$.",
    ),
)

FORMULAS = (
    Erratum(
        "Eq. 1",
        r"$S_{h,w}[n,m] = x[(n+h) \bmod H, (m+w) \bmod W]$",
        "The left side lacks its argument, $S_{h,w}(x)[n,m]$, and x its channel. With this sign a positive h moves the image up.",
        "mass.shift, for each channel.",
    ),
    Erratum(
        "Section 3, Downsampling",
        r"Given input $x \in \mathbb{R}^{H \times W}$, a downsampling function $f: \mathbb{R}^{H \times W \times C} \to "
        r"\mathbb{R}^{\frac{H}{s} \times \frac{W}{s} \times C'}$",
        "The input has C channels in the second formula and none in the first; and s must divide H and W.",
        "Maps are (B, C, H, W); other sizes are refused.",
    ),
    Erratum(
        "Eq. 3",
        r"$f_{PS}(x)[n,m] = x[sn + k_x^*, sn + k_y^*]$",
        "$sn$ stands twice: the second index is $sm + k_y^*$. The first, $n$, counts rows, so its offset would rather be $k_y^*$.",
        "Origins are (row, column) throughout.",
        True,
    ),
    Erratum(
        "Section 4.1",
        r"$\mathbf{o} \in \{(0,0), (0,1), ..., (s,s)\}$",
        "The last is $(s-1, s-1)$: the text says that there are $s^2$ origins, and this set has $(s+1)^2$.",
        "Origins are in $[0, s)^2$.",
        True,
    ),
    Erratum(
        "Section 4.1",
        r"$h: \mathbb{R}^{H \times W \times C} \to \mathbb{R}^2$",
        r"Origins are integers, and what makes the method work is missing: $h(S_t x) = h(x) - t \pmod s$.",
        "Tested as a theorem.",
        True,
    ),
    Erratum(
        "Figure 1, caption",
        "This function consistently generates the same output regardless of shifts applied to the images.",
        "If the origin were the same vector for all shifts it would align nothing. It must move *with* the image; what stays the same "
        "is the place in the image that it points to.",
        "Notebook 02 shows it as a table.",
        True,
    ),
    Erratum(
        "Eq. 5",
        r"$\frac{1}{N} \sum_n \mathbf{1}[S_{h_1,w_1}(x)_{i,j} = S_{h_2,w_2}(x)_{i,j}]$",
        "It compares images. Missing are the prediction $y(·)$, the way back (labels are compared where they belong, after undoing the "
        "shifts), and the mean over the pixels $i, j$, which the sentence below it mentions.",
        "mass.segmentation_consistency.",
        True,
    ),
)

SENTENCES = (
    Erratum(
        "Section 4.3",
        "These adjustments do not impact the computations performed by the modified architectures.",
        "Circular padding does change what is computed near the border, and the next section reports the loss of accuracy.",
        "Notebook 06 measures it: circular padding alone loses about as much.",
        True,
    ),
    Erratum(
        "Section 4.1",
        "designates the polyphase component with the largest $l_2$ norm as the origin",
        "Of two components with the same norm neither is the largest, and float sums decide near-ties by rounding.",
        "Integers, then the layout (notebook 02).",
        True,
    ),
    Erratum(
        "Table 1",
        "These architectures commonly have 5 downsampling layers",
        "Five stages. Strided shortcuts are layers as well (ResNet-50 has 8 strided operations), and they must share the origin of "
        "the branch they are added to, which the paper does not say.",
        "Lattices (notebook 03).",
        True,
    ),
    Erratum(
        "5.1.1, Training",
        "A weight decay of 0.0005 per epoch was also applied.",
        "Weight decay acts at every step.",
        "torch's SGD, 5e-4.",
    ),
    Erratum(
        "5.1.1, Anti-aliasing",
        "Gaussian filters, denoted as LPFs",
        "Binomial ones, if they are those of the cited work, which tend to a Gaussian.",
        r"$\binom{N}{k} / 2^N$.",
    ),
    Erratum(
        "Section 2",
        "Cheng et al., 2016; ?)",
        "A reference that was not found.",
        "Left open.",
    ),
)

UNSTATED = (
    ("Padding of the baseline in Table 2", "circular or zero; it decides its consistency", "both (notebook 05)"),
    (
        "Place of the blur in MASS-LPF and MASS-DDAC",
        "before the strided convolution, or behind a dense one and its ReLU, itself sampled from the origin",
        "behind, as in the cited works' ResNets; in the profile paper both",
    ),
    (
        "Prior work",
        (
            "polyphase anchoring for vision transformers (Ding et al., June 2023, arXiv 2306.07470) shifts the input of a strided "
            "operation to its phase of largest norm, as MASS does; the text at hand does not cite it"
        ),
        "named in notebook 02, with what differs: square maps, ties by index, no weights kept",
    ),
    ("Accuracy", "on unshifted images, or on shifted ones", "both are recorded"),
    ("Table 3's images", "resolution and crop; the sides must be multiples of 32", "224 pixels, recorded"),
)
