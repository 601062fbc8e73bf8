"""What the pictures of the gallery show, for those who cannot see them: a text for each, in the order of a script."""

import re

from docutils import nodes
from sphinx_gallery.scrapers import matplotlib_scraper

TEXTS = {
    "bands": [
        "Two panels of patients in the order of their medians. Left, bands between quantiles of "
        "ConditionalRealNVPDensity widen from left to right and stay above zero. Right, the band of a line with "
        "normal noise has one width everywhere and reaches below zero.",
    ],
    "bounds": [
        "Histograms of an amount and of a share, each with three curves. With bounds the density follows the truth"
        " and ends at the bounds; without them it runs smoothly over the bounds to where no row can be.",
        "Scatter plots of share and amount, rows left and draws right. Both fill one shape: amounts grow with the "
        "share, and no point lies outside the bounds.",
    ],
    "calibration": [
        "Calibration curves of four classifiers on two moons. The curve of DensityClassifier lies close to the "
        "diagonal.",
    ],
    "conditional": [
        "Targets against x in two panels, with median, mean, and a band from 5 to 95 percent. Where the spread "
        "grows the band widens with x; where there are two branches it spans both, with the mean between them.",
        "Densities of y given three values of x in two panels: single peaks that grow wider, and pairs of peaks.",
        "The distribution function at new targets, left as a histogram, right as a cumulative curve. Those of the flow"
        " stay in the band of right predictions; those of a line with normal noise leave it, with humps near 0.15 and"
        " 0.85.",
        "A histogram of the distribution function at counts, which stays in the band of right predictions.",
    ],
    "dask": [
        "Left, a histogram of 100,000 log-densities with a line below which about one row in a hundred lies. "
        "Right, the rows below it lie around and between the two moons that the other rows form.",
    ],
    "double_moon": [
        "Three panels that look alike: the target, two half rings facing each other; the density of the flows; and"
        " draws.",
        "The lower bound of the log-evidence by gradient steps. It rises to the dashed line of the log-evidence.",
    ],
    "gradients": [
        "The density of three clusters. Points of Langevin's sampler lie in the clusters, and a star marks the "
        "mode of each.",
    ],
    "images": [
        "Bits per dimension of training images and of held-out images by evaluation: both curves fall, steeply at "
        "first.",
        "Forty-eight drawn images, most of which look like handwritten digits.",
        "Forty-eight handwritten digits of the test set.",
        "Three rows of sixteen digits: test images, equal images from all of their noise, and smoother ones from half.",
        "Four rows of twelve images, in each of which one digit turns into another step by step: 0 to 1, 2 to 3, 4"
        " to 5 and 6 to 7.",
        "Two rows of sixteen digits: above the least likely, which are broad or untidy; below the likeliest, which"
        " are simple.",
    ],
    "layers": [
        "Ten scatter plots, from 0 to 9 maps: a round cloud is bent a little by each map until it has become two "
        "moons.",
        "A film of the maps: a round cloud turns into two moons.",
    ],
    "missing": [
        "Concavity against concave points for three ways of filling cells. The mean of the column gives a level "
        "line, means given the row a narrow streak, and draws given the row a cloud around it like that of the "
        "known rows.",
    ],
    "odd_cells": [
        "Left, the log-density of every cell in two rounds: most cells with slips lie far left of the others, "
        "beyond a line at -10. Right, the cells that were found, each with a bar of draws, a ring for the truth "
        "and a cross for what was written.",
    ],
    "outliers": [
        "Two rings of inliers with outliers all around. IsolationForest takes one patch, with both rings and all "
        "that lies between them, for normal; RealNVPOutlierDetector takes the two rings alone.",
    ],
    "own_parts": [
        "Densities of two moons by one flow each: NICE joins the moons by a thin bridge, and Real NVP leaves a faint"
        " haze between them.",
    ],
    "pairs": [
        "Corner plot of six columns: in nearly every panel the draws of RealNVPDensity lie where the rows lie.",
        "Corner plot of five columns: draws of one normal distribution lie where no rows are, below zero among others.",
        "Two curves of the negative log-likelihood by evaluation. That of training falls all the way; that of "
        "held-out rows falls at first and then stays about level.",
    ],
    "planar": [
        "Four heat maps: the densities of two moons and of two circles, each by 32 planar layers and by 8 affine "
        "couplings, with their log-likelihoods.",
    ],
    "search": [
        "Held-out log-likelihood by number of layers, with bars for the folds. The default lies above four flows, "
        "and four flows above one flow; a dashed line shows a Gaussian.",
    ],
    "stream": [
        "Three panels of batches 1, 30 and 60: a ring wanders to the right, and the draws of the density go with "
        "it. Below, the mean log-density of each batch: that of partial_fit stays level, that of a density fitted "
        "once falls.",
    ],
    "swiss_roll": [
        "Rows and draws in three dimensions, coloured by log-density. Both form a rolled sheet.",
        "Rows and draws seen along the roll. Both form a spiral.",
    ],
    "thresholds": [
        "Precision by recall of the detector. A dot on the curve marks the automatic threshold; a dashed line far "
        "below shows alarms at random.",
        "Cost by threshold for two prices of a missed anomaly. Each curve has its least value at another "
        "threshold, which is higher where a missed anomaly costs more.",
    ],
    "transformed": [
        "Densities of amounts: kernels on logarithms follow the true curve, kernels on the amounts are too low at "
        "its peak.",
        "The density of a ring that is thin on one side and thick on the other.",
    ],
    "two_moons": [
        "Densities of two moons: that of kernels is spotty, that of a Gaussian mixture a chain of ellipses, and "
        "that of RealNVPDensity follows the moons smoothly.",
        "A thousand draws each of kernels, a Gaussian mixture and RealNVPDensity, all in the shape of two moons.",
    ],
    "words": [
        "The words WOW and HELLO made of points: the rows left, the draws right. Both can be read.",
        "The word HELLO drawn by flows alone. It can be read, with threads of points between the letters.",
    ],
}
SHOWN = {"images": 4}  # the picture of a script that stands for it in the gallery, where that is not the first
PICTURE = re.compile(r"(/sphx_glr_plot_(\w+)_(\d+)\.png\n\s*:alt: ).*")


def scraper(block, block_vars, gallery_conf, **kwargs):
    """Save the pictures of a block of a script, each with its text."""
    saved = matplotlib_scraper(block, block_vars, gallery_conf, **kwargs)
    script = re.search(r"plot_(\w+)\.py", str(block_vars["src_file"]))[1]
    saved = saved.replace('<img id="_anim_img', f'<img alt="{TEXTS[script][-1]}" id="_anim_img')
    return PICTURE.sub(lambda found: found[1] + TEXTS[found[2]][int(found[3]) - 1], saved)


def describe_thumbnails(app, doctree):
    """Give the small pictures, in the gallery and on pages of the API, the texts of the large ones."""
    for image in doctree.findall(nodes.image):
        thumbnail = re.search(r"sphx_glr_plot_(\w+)_thumb", image["uri"])
        if thumbnail:
            image["alt"] = TEXTS[thumbnail[1]][SHOWN.get(thumbnail[1], 0)]
