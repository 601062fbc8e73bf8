// Fixed splines that map columns to normal scores; `layers/normal_scores.py` explains them, and `spline.py` the symbols.
#pragma once
#include "spline.h"

namespace {

// This structure is the spline of a column.
template <class T>
struct Curve {
  const T *knots, *scores, *slopes;
  int n_knots;

  // Return the index of the bin in which `at` lies, on the axis whose bins have these ends.
  int bin_of(const T* ends, T at) const {
    int first = 0;
    for (int n_left = n_knots - 1; n_left > 1;) {
      int half = n_left / 2;
      first += ends[first + half] <= at ? half : 0;
      n_left -= half;
    }
    return first;
  }

  INLINE Bin<T> find(Vector<T> at, bool inverse) const {
    Bin<T> bin{};
    for (int i = 0; i < LANES<T>; i++) {
      const int k = bin_of(inverse ? scores : knots, at[i]);
      bin.x0[i] = knots[k];
      bin.y0[i] = scores[k];
      bin.w[i] = knots[k + 1] - knots[k];
      bin.h[i] = scores[k + 1] - scores[k];
      bin.d0[i] = slopes[k];
      bin.d1[i] = slopes[k + 1];
    }
    return bin;
  }

  // Evaluate the spline, or its inverse function, at neighbouring numbers: z = f(x), log_det += log f'(x).
  template <bool INVERSE>
  INLINE void evaluate(T* z, const T* x, T* log_det) const {
    const T* ends = INVERSE ? scores : knots;
    Vector<T> in = load(x), at = clamp<T>(in, ends[0], ends[n_knots - 1]);
    Bin<T> bin = find(at, INVERSE);
    Vector<T> m = bin.h / bin.w;
    Vector<T> u = INVERSE ? solve<T>(at - bin.y0, bin, m) : (at - bin.x0) / bin.w;
    Vector<T> v = 1 - u, p = m * u + bin.d0 * v, q = m * v + bin.d1 * u;
    Vector<T> up = u * p, D = up + v * q, root = m / D, slope = root * root * (u * q + v * p);
    Vector<T> image = INVERSE ? bin.x0 + u * bin.w + (in - at) / slope : bin.y0 + bin.h * (up / D) + (in - at) * slope;
    store(z, image);
    Vector<T> log_slope = logarithm<T>(slope);
    store(log_det, INVERSE ? load(log_det) - log_slope : load(log_det) + log_slope);
  }

  // Compute the gradient of x from that of z.
  INLINE void vjp(T* grad_x, const T* grad_z, const T* x, const T* grad_log_det) const {
    Vector<T> in = load(x), at = clamp<T>(in, knots[0], knots[n_knots - 1]);
    Bin<T> bin = find(at, false);
    Vector<T> m = bin.h / bin.w, u = (at - bin.x0) / bin.w, v = 1 - u, p = m * u + bin.d0 * v, q = m * v + bin.d1 * u;
    Vector<T> D = u * p + v * q, E = u * q + v * p, root = m / D;
    Vector<T> of_E = q - p + u * (bin.d1 - m) + v * (m - bin.d0), of_D = p - q + u * (m - bin.d0) + v * (bin.d1 - m);
    Vector<T> bend = (of_E / E - 2 * of_D / D) / bin.w;
    bend = in == at ? bend : Vector<T>{};
    store(grad_x, load(grad_z) * (root * root * E) + load(grad_log_det) * bend);
  }
};

}  // namespace
