// Monotone rational-quadratic splines; `layers/spline.py` explains the symbols.
#pragma once
#include "vector.h"

namespace {

constexpr int N_BINS = 8, N_SPLINE_PARAMETERS = 3 * N_BINS - 1;
constexpr int N_KEPT = 8;  // The gradients need this many numbers of each element.
constexpr double MIN_BIN = 1e-3, MAX_LOG_SLOPE = 7;

// This structure is the bin in which a number lies.
template <class T>
struct Bin {
  Vector<T> number, x0, y0, w, h, d0{}, d1{};
  Vector<T> d0_slope{}, d1_slope{};  // The derivatives of d0 and d1 in their parameters.
};

// Turn N_BINS parameters, which lie `step` apart, into shares of the box, which add up to one.
template <class T>
INLINE void softmax(Vector<T>* shares, const T* theta, int64_t step) {
  Vector<T> largest = load(theta), sum{};
#pragma GCC unroll 8
  for (int k = 1; k < N_BINS; k++) largest = maximum<T>(largest, load(theta + k * step));
#pragma GCC unroll 8
  for (int k = 0; k < N_BINS; k++) sum += shares[k] = exponential<T>(load(theta + k * step) - largest);
  Vector<T> factor = 1 / sum;
#pragma GCC unroll 8
  for (int k = 0; k < N_BINS; k++) shares[k] *= factor;
}

// Find the bin of a number on the axis of y (INVERSE) or of x.
template <class T, bool INVERSE>
INLINE Bin<T> find_bin(const Vector<T>* widths, const Vector<T>* heights, const T* inner, int64_t step, Vector<T> at, T box) {
  const T size = 2 * box * T(1 - MIN_BIN * N_BINS), least = 2 * box * T(MIN_BIN);
  Vector<T> x = fill<T>(-box), y = x, left{}, right = load(inner);
  Bin<T> bin{Vector<T>{}, x, y, widths[0] * size + least, heights[0] * size + least};
#pragma GCC unroll 8
  for (int k = 1; k < N_BINS; k++) {
    x += widths[k - 1] * size + least;
    y += heights[k - 1] * size + least;
    Integers<T> beyond = (INVERSE ? y : x) <= at;
    bin.number = beyond ? fill<T>(T(k)) : bin.number;
    bin.x0 = beyond ? x : bin.x0;
    bin.y0 = beyond ? y : bin.y0;
    bin.w = beyond ? widths[k] * size + least : bin.w;
    bin.h = beyond ? heights[k] * size + least : bin.h;
    left = beyond ? load(inner + (k - 1) * step) : left;
    right = beyond ? (k < N_BINS - 1 ? load(inner + k * step) : Vector<T>{}) : right;
  }
  Vector<T> r0 = soft_clip_factor<T>(left, MAX_LOG_SLOPE), r1 = soft_clip_factor<T>(right, MAX_LOG_SLOPE);
  bin.d0 = exponential<T>(left * r0);
  bin.d1 = exponential<T>(right * r1);
  bin.d0_slope = bin.d0 * r0 * r0 * r0;
  bin.d1_slope = bin.d1 * r1 * r1 * r1;
  return bin;
}

// Find the u in [0, 1] at which the spline has risen by `rise` since the left knot, a root of a quadratic.
template <class T>
INLINE Vector<T> solve(Vector<T> rise, const Bin<T>& bin, Vector<T> m) {
  Vector<T> bent = rise * (bin.d0 + bin.d1 - 2 * m);
  Vector<T> a = bin.h * (m - bin.d0) + bent, b = bin.h * bin.d0 - bent, c = -m * rise;
  Vector<T> discriminant = b * b - 4 * a * c;
  discriminant = discriminant < Vector<T>{} ? Vector<T>{} : discriminant;
  return 2 * c / (-b - square_root<T>(discriminant));
}

// Evaluate the splines of a vector of elements, or their inverse functions: z = f(x), log_det += log f'(x). The
// parameters of an element lie `step` apart. With KEEP the shares of the bins replace the first parameters, and `kept`
// gets what the gradients need.
template <class T, bool INVERSE, bool KEEP>
INLINE void spline_element(T* z, const T* x, T* theta, T* kept, T* log_det, int64_t step, T box) {
  Vector<T> in = load(x), at = clamp<T>(in, -box, box), shares[2 * N_BINS];
  softmax<T>(shares, theta, step);
  softmax<T>(shares + N_BINS, theta + N_BINS * step, step);
  Bin<T> bin = find_bin<T, INVERSE>(shares, shares + N_BINS, theta + 2 * N_BINS * step, step, at, box);
  Vector<T> m = bin.h / bin.w;
  Vector<T> u = INVERSE ? solve<T>(at - bin.y0, bin, m) : (at - bin.x0) / bin.w;
  Vector<T> v = 1 - u, p = m * u + bin.d0 * v, q = m * v + bin.d1 * u;
  Vector<T> up = u * p, D = up + v * q, E = u * q + v * p, slope_root = m / D;
  Vector<T> log_slope = logarithm<T>(slope_root * slope_root * E);
  Vector<T> image = INVERSE ? bin.x0 + u * bin.w : bin.y0 + bin.h * (up / D);
  store(z, image + (in - at));
  store(log_det, INVERSE ? load(log_det) - log_slope : load(log_det) + log_slope);
  if (KEEP) {
#pragma GCC unroll 16
    for (int k = 0; k < 2 * N_BINS; k++) store(theta + k * step, shares[k]);
    const Vector<T> numbers[N_KEPT] = {bin.number, bin.w, bin.h, bin.d0, bin.d1, u, bin.d0_slope, bin.d1_slope};
#pragma GCC unroll 8
    for (int k = 0; k < N_KEPT; k++) store(kept + k * step, numbers[k]);
  }
}

// Compute the gradients of the parameters of the bins from those of the positions of the two knots around a number.
template <class T>
INLINE void softmax_vjp(T* grad_theta, const T* shares, int64_t step, Vector<T> bin, Vector<T> left, Vector<T> right) {
  Vector<T> weighted[N_BINS], sum{};
#pragma GCC unroll 8
  for (int k = 0; k < N_BINS; k++) {  // The shares before a knot move the knot.
    Vector<T> grad = (bin >= fill<T>(T(k)) ? right : Vector<T>{}) + (bin > fill<T>(T(k)) ? left : Vector<T>{});
    sum += weighted[k] = grad * load(shares + k * step);
  }
#pragma GCC unroll 8
  for (int k = 0; k < N_BINS; k++) store(grad_theta + k * step, weighted[k] - load(shares + k * step) * sum);
}

// Compute the gradients of x, which replace those of z in `grad`, and of the parameters.
template <class T>
INLINE void spline_vjp_element(T* grad, T* grad_theta, const T* x, const T* shares, const T* kept, Vector<T> grad_log_slope,
                               int64_t step, T box) {
  Vector<T> numbers[N_KEPT];
#pragma GCC unroll 8
  for (int k = 0; k < N_KEPT; k++) numbers[k] = load(kept + k * step);
  const auto [bin, w, h, d0, d1, u, d0_slope, d1_slope] = numbers;
  Vector<T> grad_y = load(grad), m = h / w, v = 1 - u, p = m * u + d0 * v, q = m * v + d1 * u;
  Vector<T> D = u * p + v * q, E = u * q + v * p, r = u * p / D;
  Vector<T> grad_r = grad_y * h, grad_E = grad_log_slope / E, grad_D = -(2 * grad_log_slope + grad_r * r) / D;
  Vector<T> grad_up = grad_D + grad_r / D, grad_p = grad_up * u + grad_E * v, grad_q = grad_D * v + grad_E * u;
  Vector<T> grad_m = grad_p * u + grad_q * v + 2 * grad_log_slope / m;
  Vector<T> grad_u = (grad_up - grad_E) * p + (grad_E - grad_D) * q + grad_p * (m - d0) + grad_q * (d1 - m);
  Vector<T> grad_x = grad_u / w, grad_h = grad_y * r + grad_m / w, grad_w = -(grad_m * m + grad_u * u) / w;

  const T size = 2 * box * T(1 - MIN_BIN * N_BINS);
  softmax_vjp<T>(grad_theta, shares, step, bin, (-grad_x - grad_w) * size, grad_w * size);
  softmax_vjp<T>(grad_theta + N_BINS * step, shares + N_BINS * step, step, bin, (grad_y - grad_h) * size, grad_h * size);
  Vector<T> grad_left = grad_p * v * d0_slope, grad_right = grad_q * u * d1_slope;
#pragma GCC unroll 8
  for (int k = 1; k < N_BINS; k++) {  // An inner knot is the left knot of bin k and the right knot of bin k - 1.
    Vector<T> of_right = bin == fill<T>(T(k - 1)) ? grad_right : Vector<T>{};
    store(grad_theta + (2 * N_BINS + k - 1) * step, bin == fill<T>(T(k)) ? grad_left : of_right);
  }
  Vector<T> in = load(x);
  store(grad, in == clamp<T>(in, -box, box) ? grad_x : grad_y);
}

}  // namespace
