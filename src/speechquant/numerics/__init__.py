"""How tensors become integers: specs, histograms, calibrators, reference arithmetic, packing. NumPy only."""

from speechquant.numerics.calibrators import (
    MIN_SCALE,
    Calibrator,
    calibrate,
    calibrate_many,
    calibrator,
    calibrator_names,
    calibrator_options,
    register,
    threshold,
)
from speechquant.numerics.codes import CANDIDATES, Code
from speechquant.numerics.entropy import decode, encode, smallest
from speechquant.numerics.entropy_steps import LEAST_ENTROPY, MOST_ENTROPY, entropy_grids
from speechquant.numerics.histogram import DEFAULT_BINS, MIN_EXPONENT, Histogram, range_exponent
from speechquant.numerics.histogram_file import load_histograms, save_histograms
from speechquant.numerics.integer import dequantize, quantize
from speechquant.numerics.packing import pack, packed_size, unpack
from speechquant.numerics.scale_table import Entry, ScaleTable
from speechquant.numerics.spec import MAX_BITS, MIN_BITS, Granularity, QuantSpec, Role, Site
from speechquant.numerics.weight_scales import WeightMethod, weight_scales

__all__ = [
    "CANDIDATES",
    "DEFAULT_BINS",
    "LEAST_ENTROPY",
    "MAX_BITS",
    "MIN_BITS",
    "MIN_EXPONENT",
    "MIN_SCALE",
    "MOST_ENTROPY",
    "Calibrator",
    "Code",
    "Entry",
    "Granularity",
    "Histogram",
    "QuantSpec",
    "Role",
    "ScaleTable",
    "Site",
    "WeightMethod",
    "calibrate",
    "calibrate_many",
    "calibrator",
    "calibrator_names",
    "calibrator_options",
    "decode",
    "dequantize",
    "encode",
    "entropy_grids",
    "load_histograms",
    "pack",
    "packed_size",
    "quantize",
    "range_exponent",
    "register",
    "save_histograms",
    "smallest",
    "threshold",
    "unpack",
    "weight_scales",
]
