// Numbers as people read them.

export const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "<0.1 %";
  if (value > 99.9 && value < 100) return ">99.9 %";
  return `${value.toFixed(1)} %`;
};

export const milliseconds = (value) => {
  if (value < 9.995) return `${value.toFixed(2)} ms`;
  return value < 999.5 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(2)} s`;
};

export const rate = (value) => (value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
