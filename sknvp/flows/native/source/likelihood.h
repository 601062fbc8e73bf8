// The log-likelihood of a block of rows under a flow with a standard normal base.
#pragma once
#include "vector.h"

namespace {

constexpr double LOG_2_PI = 1.8378770664093454836, UNDERFLOW_LIMIT = 740;

// Return the logarithm of the sum of a row's density and exp(tail). `share` becomes the share of the density in it.
INLINE Vector<double> add_tail(Vector<double> log_prob, Vector<double> tail, Vector<double>& share) {
  using V = Vector<double>;
  V difference = tail - log_prob, size = difference < V{} ? -difference : difference;
  // The smaller of both densities is counted as a share of the larger one.
  V smaller = size > fill(UNDERFLOW_LIMIT) ? V{} : exponential<double>(-size);
  share = (difference > V{} ? smaller : fill(1.0)) / (1 + smaller);
  return (difference > V{} ? tail : log_prob) + logarithm<double>(1 + smaller);
}

// Compute the log-density of each row from its noise and its log-determinant. All arrays have room for `length` rows.
template <class T>
void log_prob_of_rows(double* log_prob, const T* z, const T* log_det, int d, int length) {
  for (int row = 0; row < length; row++) log_prob[row] = d * LOG_2_PI;
  for (int j = 0; j < d; j++)
    for (int row = 0; row < length; row++) {
      double number = z[j * length + row];  // In single precision, squares overflow from 1.8e19 on.
      log_prob[row] += number * number;
    }
  for (int row = 0; row < length; row++) log_prob[row] = log_det[row] - log_prob[row] / 2;
}

// Compute the sum of weighted log-densities, and the gradients of the image and of the log-determinants. `weights` and
// `tail` have n_rows numbers; all other arrays have room for `length` rows.
template <class T>
double log_prob_of_block(const T* z, const T* log_det, int d, const double* weights, const double* tail, int n_rows,
                         int length, T* grad_z, T* grad_log_det) {
  using V = Vector<double>;
  alignas(64) double log_prob[BLOCK], tails[BLOCK], own[BLOCK] = {};
  log_prob_of_rows(log_prob, z, log_det, d, length);
  for (int row = 0; row < n_rows; row++) own[row] = weights[row];
  for (int row = 0; row < length; row++) tails[row] = tail && row < n_rows ? tail[row] : -INFINITY;
  V sum{};
  for (int row = 0; row < length; row += LANES<double>) {
    V weight = load(own + row), share = fill(1.0), value = load(log_prob + row);
    if (tail) value = add_tail(value, load(tails + row), share);
    sum += weight * value;
    store<double>(own + row, weight * share);
  }
  for (int row = 0; row < length; row++) grad_log_det[row] = (T)own[row];
  for (int j = 0; j < d; j++)
    for (int row = 0; row < length; row++) grad_z[j * length + row] = -z[j * length + row] * grad_log_det[row];
  double total;
  sum_lanes<double, 1>(&total, &sum);
  return total;
}

}  // namespace
