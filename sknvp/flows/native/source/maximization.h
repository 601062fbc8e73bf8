// The maximization step of Gaussian mixtures: from sums over the rows of a component to its log-density.
#pragma once
#include <cmath>

#include "experts.h"
#include "likelihood.h"

namespace {

constexpr double LEAST_COUNT = 1e-10;  // Sums are divided by at least this number.

// Replace the upper triangle of A, a matrix of d rows, by U with U^T U = A. Return whether A is positive definite.
bool factor(double* a, int d) {
  for (int k = 0; k < d; k++) {
    double* pivot = a + k * d;
    if (!(pivot[k] > 0) || !std::isfinite(pivot[k])) return false;
    const double root = std::sqrt(pivot[k]);
    for (int j = k; j < d; j++) pivot[j] /= root;
    for (int i = k + 1; i < d; i++)
      for (int j = i; j < d; j++) a[i * d + j] -= pivot[i] * pivot[j];
  }
  return true;
}

// Write the inverse of U to V, which is upper triangular too.
void invert(const double* u, double* v, int d) {
  for (int i = d - 1; i >= 0; i--) {
    double* own = v + i * d;
    std::fill(own, own + d, 0.0);
    for (int k = i + 1; k < d; k++)
      for (int j = k; j < d; j++) own[j] -= u[i * d + k] * v[k * d + j];
    for (int j = i + 1; j < d; j++) own[j] /= u[i * d + i];
    own[i] = 1 / u[i * d + i];
  }
}

// Write the coefficients of the monomials 1, z_i, and z_i z_j for i <= j in the logarithm of the weighted density of a
// component, given the sums of these monomials, and of the noise, over its rows. There is noise in no column or in all.
// Return false if the covariance plus the ridge is not positive definite.
bool maximize_component(const Expert& call, const double* sums, double total, double* memory, double* out) {
  const int d = (int)call.n_features, n_monomials = (d + 1) * (d + 2) / 2;
  double *u = memory, *v = u + d * d, *mean = v + d * d, *linear = out + 1, *quadratic = linear + d;
  const double count = std::max(sums[0], LEAST_COUNT), *products = sums + 1 + d, *noise = sums + n_monomials;
  for (int i = 0; i < d; i++) mean[i] = sums[1 + i] / count;
  for (int i = 0; i < d; i++) {
    for (int j = i; j < d; j++) u[i * d + j] = *products++ / count - mean[i] * mean[j];
    u[i * d + i] += (call.n_noise ? noise[i] / count : 0) + call.scale;
  }
  if (!factor(u, d)) return false;
  invert(u, v, d);
  out[0] = std::log(sums[0] / total) - 0.5 * d * LOG_2_PI;
  std::fill(linear, linear + d, 0.0);
  for (int i = 0; i < d; i++) {
    out[0] += std::log(v[i * d + i]);
    for (int j = i; j < d; j++) {  // The precision is V V^T.
      double precision = 0;
      for (int k = j; k < d; k++) precision += v[i * d + k] * v[j * d + k];
      *quadratic++ = i == j ? -0.5 * precision : -precision;
      linear[i] += precision * mean[j];
      if (i != j) linear[j] += precision * mean[i];
    }
  }
  for (int i = 0; i < d; i++) out[0] -= 0.5 * linear[i] * mean[i];
  return true;
}

// Take the maximization step of a member. Return false if one of its covariances is not positive definite.
bool maximize(const Expert& call, int64_t member, double* memory) {
  const int64_t d = call.n_features, n_monomials = (d + 1) * (d + 2) / 2, n_sums = n_monomials + call.n_noise;
  const double* sums = call.constants + member * call.n_parts * n_sums;
  double* out = call.moments + member * call.n_parts * n_monomials;
  double total = 0;
  for (int64_t k = 0; k < call.n_parts; k++) total += sums[k * n_sums];
  for (int64_t k = 0; k < call.n_parts; k++)
    if (!maximize_component(call, sums + k * n_sums, total, memory, out + k * n_monomials)) return false;
  return true;
}

}  // namespace
