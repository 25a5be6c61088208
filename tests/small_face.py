"""Five points of a face that fills 32 × 32 pixels, so that its parts own some of 4 × 4 patches."""

import numpy as np

FIVE = np.array([(9.0, 11.0), (23.0, 11.0), (16.0, 18.0), (10.5, 25.0), (21.5, 25.0)])
